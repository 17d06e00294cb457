"""A version in a process of its own: what crosses to it and back, and what becomes of it when either side dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import pickle
import shutil
import signal
import threading
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest

from pipeline.experiments import process_tree
from pipeline.serving.errors import Code, RequestError, VersionError
from pipeline.serving.labels import Labels
from pipeline.serving.loaded_model import WARM_UP_FILE, LoadedModel
from pipeline.serving.model_process import ModelProcess
from tests.pipeline.serving import pushing, servers
from tests.pipeline.serving.conftest import ACCENTED, KNOWN, UNKNOWN
from tests.pipeline.serving.servers import TIMEOUT_S, Running
from tests.pipeline.serving.test_process import PAIR, Process

DIGEST = "0" * 64
RANK = {"user_id": np.array([b"u1"], object), "movie_title": np.array([KNOWN.encode(), ACCENTED.encode()], object)}


def wait_for(what: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(TIMEOUT_S / 0.05)):
        if what():
            return
        pause.wait(0.05)
    raise AssertionError(f"not within {TIMEOUT_S} s")


def is_there(pid: int) -> bool:
    """Whether a thread of a process runs; nobody may have asked for its exit code yet."""
    states = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(path.read_text("utf-8", errors="replace").rpartition(")")[2].split()[0])
    return any(state not in "ZX" for state in states)


def pid_of(version: int) -> int:
    """The process of a version that a server in this process has loaded."""
    (pid,) = [each.pid for each in multiprocessing.active_children() if each.name == f"version {version}"]
    assert pid is not None
    return pid


@contextlib.contextmanager
def process_of(folder: str, number: int) -> Iterator[ModelProcess]:
    process = ModelProcess(folder, number, DIGEST, threads=2)
    try:
        yield process
    finally:
        process.end()


@pytest.fixture(scope="module")
def process(model: str) -> Iterator[ModelProcess]:
    with process_of(model, 7) as made:
        assert made.load(threads=2) > 0
        yield made


def test_it_answers_as_the_model_does_here(process: ModelProcess, model: str) -> None:
    here = LoadedModel(model, 7, DIGEST)
    assert (process.number, process.digest, process.folder) == (here.number, here.digest, here.folder)
    assert process.signatures == here.signatures
    assert process.definitions == here.definitions
    empty = {**RANK, "movie_title": np.empty(0, object)}
    for inputs in (RANK, empty):
        there = process.run(process.signatures["rank"], inputs)
        expected = here.run(here.signatures["rank"], inputs)
        assert there.keys() == expected.keys()
        for name, values in expected.items():
            assert (there[name].dtype, there[name].shape) == (values.dtype, values.shape)
            assert there[name].tolist() == values.tolist()
    for name in ("user_vectors", "rated_titles"):
        np.testing.assert_array_equal(process.variable(name), here.variable(name))
    assert process.variable("no_such_variable") is None


def test_more_ask_at_once_than_it_has_threads(process: ModelProcess) -> None:
    signature = process.signatures["rank"]
    titles = [KNOWN, ACCENTED, UNKNOWN, "Film 04 (1984)", "Film 05 (1985)", "Film 08 (1988)"]
    faults: list[object] = []

    def ask(title: str) -> None:
        inputs = {**RANK, "movie_title": np.array([title.encode()], object)}
        for _ in range(20):
            answer = process.run(signature, inputs)["movie_title"].tolist()
            if answer != [title.encode()]:
                faults.append((title, answer))

    threads = [threading.Thread(target=ask, args=(title,)) for title in titles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not faults


def test_what_the_model_refuses_and_what_fails_leaves_it_answering(process: ModelProcess) -> None:
    signature = process.signatures["serving_default"]
    with pytest.raises(RequestError) as refused:
        process.run(signature, {"examples": np.array([b"no example"], object)})
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert "parse" in str(refused.value).lower()
    with pytest.raises(RuntimeError, match="expected an answer of version 7; got"):
        process.run(process.signatures["rank"], {**RANK, "user_id": None})
    assert process.run(process.signatures["rank"], RANK)["movie_title"].shape == (2,)
    assert not process.has_ended


@pytest.mark.parametrize("error", [RequestError(Code.NOT_FOUND, "none"), VersionError(Code.DATA_LOSS, "lost")])
def test_errors_keep_their_codes(error: RequestError | VersionError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, str(again)) == (type(error), error.code, str(error))


@pytest.mark.parametrize(
    ("damaged", "said"), [("saved_model.pb", "a model that can be loaded"), (WARM_UP_FILE, "requests in assets.extra")]
)
def test_a_damaged_version_is_told_and_leaves_no_process(
    model: str, tmp_path: pathlib.Path, damaged: str, said: str
) -> None:
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / damaged).write_bytes(b"damaged")
    with process_of(str(tmp_path / "model"), 8) as process:
        pid = pid_of(8)
        with pytest.raises(VersionError) as told:
            process.load(threads=1)
        assert told.value.code is Code.INTERNAL
        assert said in str(told.value)
    assert not is_there(pid)


def test_a_process_that_ends_while_it_loads_is_told(model: str) -> None:
    with process_of(model, 8) as process:
        os.kill(pid_of(8), signal.SIGKILL)
        with pytest.raises(VersionError, match="its process ended by SIGKILL") as told:
            process.load(threads=1)
    assert told.value.code is Code.UNAVAILABLE


def test_a_process_that_does_not_answer_is_ended(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.serving.model_process._END_S", 0.2)
    with process_of(model, 8) as process:
        process.load(threads=1)
        pid = pid_of(8)
        os.kill(pid, signal.SIGSTOP)
    assert not is_there(pid)


@pytest.mark.slow
def test_the_end_of_what_they_are_forked_from_is_survived(model: str) -> None:
    with process_of(model, 8) as process:
        process.load(threads=1)
        status = pathlib.Path(f"/proc/{pid_of(8)}/stat").read_text("utf-8").rpartition(")")[2].split()
        os.kill(int(status[1]), signal.SIGKILL)
        wait_for(lambda: not is_there(int(status[1])))
        assert process.run(process.signatures["rank"], RANK)["movie_title"].shape == (2,)
        assert not process.has_ended
        with process_of(model, 9) as other:
            assert other.load(threads=1) > 0
            assert other.run(other.signatures["rank"], RANK)["movie_title"].shape == (2,)


@pytest.fixture
def output(model: str, tmp_path: pathlib.Path) -> pathlib.Path:
    """An output folder of its own, with version 100."""
    (tmp_path / "serving_model").mkdir()
    pushing.push_copy(model, tmp_path, 100)
    return tmp_path


def predict(served: Running, version: int) -> servers.Answer:
    return served.predict(PAIR, f"/v1/models/movie_ranking/versions/{version}:predict")


@pytest.mark.slow
def test_a_killed_process_fails_its_requests_alone_and_is_started_again(
    model: str, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.serving.versions._AGAIN_S", 0.0)
    pushing.push_copy(model, output, 200)
    Labels(labels={"stable": 100}).write(output / "serving_model")
    with servers.running(output, threads=4) as served:
        served.wait_for(lambda: served.states() == {100: "AVAILABLE", 200: "AVAILABLE"})
        # Stopped, so that requests are under way when it is killed.
        os.kill(pid_of(200), signal.SIGSTOP)
        over_rest: list[servers.Answer] = []
        over_grpc: list[grpc.RpcError] = []

        def ask_over_grpc() -> None:
            with served.prediction() as stub:
                try:
                    stub.Predict(servers.predict_request("predict", PAIR["inputs"], version=200), timeout=TIMEOUT_S)
                except grpc.RpcError as error:
                    over_grpc.append(error)

        asking = [
            threading.Thread(target=lambda: over_rest.append(predict(served, 200))),
            threading.Thread(target=ask_over_grpc),
        ]
        for thread in asking:
            thread.start()

        def metrics() -> str:
            return served.ask("GET", "/monitoring/prometheus/metrics").body.decode()

        served.wait_for(lambda: "movie_ranking_requests_under_way 2.0" in metrics())
        assert predict(served, 100).status == 200
        os.kill(pid_of(200), signal.SIGKILL)
        for thread in asking:
            thread.join(TIMEOUT_S)
        (answer,), (error,) = over_rest, over_grpc
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "expected an answer of version 200; its process has ended" in answer.error
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert predict(served, 100).status == 200
        served.wait_for(lambda: predict(served, 200).status == 200)
        assert "movie_ranking_process_ends_total 1.0" in metrics()
        (told,) = [each for each in served.events if each["event"] == "ended"]
        assert (told["version"], "SIGKILL" in told["message"]) == (200, True)
        # Once more, and it has to wait: until then it is told why it is not there.
        monkeypatch.setattr("pipeline.serving.versions._AGAIN_S", 3600.0)
        os.kill(pid_of(200), signal.SIGKILL)
        served.wait_for(lambda: served.states() == {100: "AVAILABLE", 200: "END"})
        status = served.ask("GET", "/v1/models/movie_ranking/versions/200").json["model_version_status"][0]["status"]
        assert status["error_code"] == "UNAVAILABLE"
        assert "its process ended by SIGKILL" in status["error_message"]
        assert predict(served, 200).status == 503
        assert predict(served, 100).status == 200
        assert [each["version"] for each in served.events if each["event"] == "loaded"].count(200) == 2


@pytest.mark.slow
def test_without_another_version_the_server_waits_for_one(
    model: str, output: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.serving.versions._AGAIN_S", 3600.0)
    with servers.running(output) as served:
        os.kill(pid_of(100), signal.SIGKILL)
        served.wait_for(lambda: served.states() == {100: "END"})
        answer = served.predict(PAIR)
        assert (answer.status, answer.error) == (503, "Servable not found for request: Latest(movie_ranking)")
        assert served.ask("GET", "/readyz").status == 503
        assert served.ask("GET", "/healthz").status == 200
        pushing.push_copy(model, output, 200)
        served.wait_until_ready()
        assert served.predict(PAIR).status == 200


@pytest.mark.slow
def test_an_answer_that_nobody_waits_for_is_not_taken_for_the_next_one(output: pathlib.Path) -> None:
    with servers.running(output, threads=1) as served, served.prediction() as stub:
        pid = pid_of(100)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(grpc.RpcError) as late:
            stub.Predict(servers.predict_request("rank", {"user_id": ["u1"], "movie_title": [KNOWN]}), timeout=0.5)
        assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        os.kill(pid, signal.SIGCONT)
        request = servers.predict_request("rank", {"user_id": ["u1"], "movie_title": [ACCENTED]})
        answer = servers.arrays(stub.Predict(request, timeout=TIMEOUT_S))
        assert answer["movie_title"].tolist() == [ACCENTED.encode()]


@pytest.mark.slow
def test_the_memory_of_a_version_that_is_let_go_is_given_back(
    model: str, other_model: str, output: pathlib.Path
) -> None:
    with servers.running(output) as served:
        before = pid_of(100)
        assert process_tree.resident_bytes(before) > 20 << 20
        pushing.push_copy(other_model, output, 200)
        served.wait_for(lambda: served.states() == {100: "END", 200: "AVAILABLE"})
        assert not is_there(before)
        last = pid_of(200)
    assert not is_there(last)


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.process.kill()
        process.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_server_leaves_no_process_behind(
    output: pathlib.Path, started: list[Process], sent: signal.Signals
) -> None:
    started.append(server := Process("--output", str(output)))
    assert server.event("ready")
    pids = process_tree.pids(server.process.pid)
    # The server, what it forks from, and the version; Python has one more, which looks after shared memory.
    assert len(pids) >= 3
    below = pids[1:]
    if sent is not signal.SIGKILL:
        # As Ctrl-C in a terminal does, and the end of a service: all get it, and the server alone acts on it.
        for pid in below:
            os.kill(pid, sent)
        assert server.ask("/v1/models/movie_ranking:predict", PAIR)[0] == 200
    server.process.send_signal(sent)
    code = server.process.wait(TIMEOUT_S)
    assert code == (-signal.SIGKILL if sent is signal.SIGKILL else 0), server.lines
    wait_for(lambda: not any(map(is_there, below)))
