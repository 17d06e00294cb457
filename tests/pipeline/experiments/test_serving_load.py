"""The benchmark of the server: its arithmetic, its loops, and all of it on a real server; never its speed."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import pathlib
import threading

import numpy as np
import pytest
from rich.console import Console

from modules.errors import UserError
from pipeline import cli
from pipeline.exit_codes import ExitCode
from pipeline.experiments import serving_load
from pipeline.experiments.serving_clients import FailedError, GrpcClient, Question, RestClient
from pipeline.experiments.serving_load import Answered, ServingSpeed, Swaps, Timed, summed_up
from pipeline.experiments.serving_process import Served, ServerProcess, serving
from tests.support import export_recommending

QUESTION = Question(signature="rank", inputs={"user_id": np.array(["u1"], object)})


def answered(due: float, ms: float, fault: str = "") -> Answered:
    return Answered(due=due, seconds=ms / 1e3, fault=fault)


class TestFigures:
    def test_requests_without_an_answer_count_as_failed_alone(self) -> None:
        # 101 answers of 0 to 100 ms: each percentile is its own number.
        answers = [answered(0.0, ms) for ms in range(101)] + [answered(0.0, 5_000.0, "gRPC UNAVAILABLE")] * 3
        timed = Timed.of(answers, 2.0, kind="rank", how="gRPC", loop="closed", clients=1)
        assert (timed.requests, timed.failed) == (104, 3)
        assert (timed.p50_ms, timed.p99_ms) == pytest.approx((50.0, 99.0))
        assert timed.requests_per_s == pytest.approx(101 / 2)

    def test_nothing_answered_is_no_number(self) -> None:
        timed = Timed.of([answered(0.0, 1.0, "REST 503")], 1.0, kind="", how="", loop="", clients=1)
        assert np.isnan([timed.p50_ms, timed.p99_ms]).all()
        assert timed.requests_per_s == 0.0

    def test_requests_count_to_a_swap_by_when_they_were_due(self) -> None:
        answers = [answered(float(second), 10.0) for second in range(10)]
        answers += [answered(10.0, 30.0), answered(12.0, 30.0), answered(11.0, 99.0, "lost"), answered(20.0, 30.0)]
        swaps = summed_up(
            answers, [(9.5, 12.0), (20.0, 21.0)], [1.0, 3.0, 2.0], [1_000, 1_500, 1_100], minutes=1.0, rate=5.0
        )
        assert (swaps.requests, swaps.failed, swaps.faults) == (14, 1, ("lost",))
        assert (swaps.swaps, swaps.swap_requests) == (2, 3)
        assert (swaps.steady_p50_ms, swaps.steady_p99_ms) == pytest.approx((10.0, 10.0))
        assert (swaps.swap_p50_ms, swaps.swap_p99_ms) == pytest.approx((30.0, 30.0))
        assert swaps.p99_ratio == pytest.approx(3.0)
        assert swaps.swap_seconds == 2.0
        assert swaps.memory_growth == pytest.approx(0.1)

    def test_json_has_no_nan(self) -> None:
        swaps = summed_up([answered(5.0, 1.0)], [(4.0, 6.0)], [1.0], [1, 1], minutes=1.0, rate=1.0)
        speed = ServingSpeed(model=pathlib.Path("m"), seed=0, cores=2, start_seconds=1.0, timed=(), swaps=swaps)
        record = json.loads(serving_load.as_text(speed), parse_constant=pytest.fail)
        assert record["swaps"]["steady_p99_ms"] is None
        assert record["swaps"]["p99_ratio"] is None
        assert record["swaps"]["swap_p99_ms"] == pytest.approx(1.0)


class TestLoops:
    def test_each_request_is_made_once_whoever_asks(self) -> None:
        questions = [Question(signature=str(number), inputs={}) for number in range(7)]
        asked: list[str] = []

        def ask(question: Question) -> dict:
            asked.append(question.signature)
            return {}

        timed = serving_load.closed_loop("rank", "here", [ask] * 3, questions, 100)
        assert (timed.requests, timed.failed, timed.clients) == (100, 0, 3)
        counted = asked[-100:]
        assert sorted(counted) == sorted(str(number % 7) for number in range(100))

    def test_the_rate_is_kept_where_answers_are_slow(self) -> None:
        pause = threading.Event()
        answers, took = serving_load.open_loop([lambda _: pause.wait(0.05) or {}] * 8, [QUESTION], 50.0, 1.0)
        assert len(answers) == 50
        assert np.allclose(np.diff([each.due for each in answers]), 0.02, atol=1e-4)
        assert min(each.seconds for each in answers) >= 0.05
        # The last one was due after 0.98 s.
        assert took >= 0.98

    def test_waiting_for_a_client_counts(self) -> None:
        """One client that stops for half a second is late with all that was due by then, not with one request."""
        pause, numbers = threading.Event(), itertools.count()
        warm_ups = 50

        def ask(_: Question) -> dict:
            if next(numbers) == warm_ups + 10:
                pause.wait(0.5)
            return {}

        answers, _ = serving_load.open_loop([ask], [QUESTION], 100.0, 1.0)
        late = [each for each in answers if each.seconds > 0.1]
        assert len(late) >= 35
        assert answers[10].seconds >= 0.5

    def test_what_fails_is_kept_with_its_reason(self) -> None:
        def ask(_: Question) -> dict:
            raise FailedError("REST 503: busy")

        answers, _ = serving_load.open_loop([ask], [QUESTION], 1_000.0, 0.01)
        assert [each.fault for each in answers] == ["REST 503: busy"] * 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A version of a model that recommends, below an output folder."""
    exported = pathlib.Path(export_recommending(tmp_path_factory.mktemp("exported")))
    version = tmp_path_factory.mktemp("output") / "serving_model" / "1700000000"
    version.parent.mkdir()
    return exported.rename(version)


class TestServed:
    def test_copies_are_what_was_judged_and_two_stay(self, model: pathlib.Path, tmp_path: pathlib.Path) -> None:
        from components import model_digest, push_records

        served = Served(model, tmp_path)
        assert [served.push() for _ in range(4)] == [1, 2, 3, 4]
        versions = sorted(path.name for path in (tmp_path / "serving_model").iterdir())
        assert versions == ["3", "4"]
        digest = model_digest.of_folder(str(model))
        assert push_records.judged(str(tmp_path / "serving_model"), 4) == digest
        assert model_digest.of_folder(str(tmp_path / "serving_model" / "4")) == digest


@pytest.mark.slow
class TestRealServer:
    @pytest.fixture(scope="class")
    def server(self, model: pathlib.Path, tmp_path_factory: pytest.TempPathFactory):
        served = Served(model, tmp_path_factory.mktemp("served"))
        served.push()
        with serving(served.output) as server:
            yield server

    def test_clients_get_the_same_answers(self, server: ServerProcess) -> None:
        inputs = {"user_id": np.array(["u1"], object), "movie_title": np.array(["Film 03 (1983)", "Élan"], object)}
        question = Question(signature="rank", inputs=inputs)
        clients = GrpcClient(server.grpc_port), RestClient(server.rest_port)
        over_grpc, over_rest = (client.ask(question) for client in clients)
        assert [title.decode() for title in over_grpc["movie_title"]] == over_rest["movie_title"]
        assert over_grpc["predicted_rating"].tolist() == pytest.approx(over_rest["predicted_rating"], abs=1e-6)
        wrong = Question(signature="none", inputs=inputs)
        for client, said in zip(clients, ("gRPC FAILED_PRECONDITION", "REST 400"), strict=True):
            with pytest.raises(FailedError, match=said):
                client.ask(wrong)
            # The connection is still good.
            client.ask(question)
            client.close()

    def test_the_server_is_watched(self, server: ServerProcess) -> None:
        assert server.start_seconds > 0
        assert server.resident_bytes > 50 << 20
        assert server.wait_for("loaded", 1.0, version=1).fields["version"] == 1
        with pytest.raises(UserError, match=r"expected the server to tell 'loaded'; nothing came in 0\.1 s"):
            server.wait_for("loaded", 0.1, version=2)

    def test_a_server_that_is_gone_has_no_answers(self, model: pathlib.Path, tmp_path: pathlib.Path) -> None:
        served = Served(model, tmp_path / "served")
        served.push()
        with serving(served.output) as server:
            clients = GrpcClient(server.grpc_port), RestClient(server.rest_port)
            assert server.stop() == 0
            for client in clients:
                with pytest.raises(FailedError):
                    client.ask(QUESTION)
                client.close()
            with pytest.raises(UserError, match="it ended with 0"):
                server.wait_for("loaded", 60.0, version=9)

    def test_what_cannot_start_is_told(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "serving_model").mkdir()
        with pytest.raises(UserError, match="No such option"), serving(tmp_path, "--no-such-option"):
            pass

    def test_all_of_it(self, model: pathlib.Path, tmp_path: pathlib.Path, capfd) -> None:
        output = tmp_path / "benchmark"
        short = "--requests 20 --clients 2 --rate 20 --seconds 1 --swap 2 --minutes 0.2 --json"
        with pytest.raises(SystemExit) as ended:
            cli.main(["benchmark", "serving", "--model", str(model), "--output", str(output), *short.split()])
        assert not ended.value.code
        out, said = capfd.readouterr()
        printed = json.loads(out)
        # Each version under load has a line.
        assert [f"[{number}/2] a version answers" in said for number in (1, 2)] == [True, True]
        assert printed == json.loads((output / "serving.json").read_text())
        asked = [(each["kind"], each["how"], each["loop"], each["clients"]) for each in printed["requests"]]
        kinds = ["predict 100", "rank 100", "rank 1,000", "recommend 10"]
        assert asked == [
            *((kind, "in process", "closed", 1) for kind in kinds),
            *((kind, how, "closed", clients) for kind in kinds for how in ("gRPC", "REST") for clients in (1, 2)),
            ("rank 100", "gRPC", "20/s", 32),
            ("rank 100", "REST", "20/s", 32),
        ]
        assert all(each["requests"] == 20 and each["failed"] == 0 for each in printed["requests"])
        swaps = printed["swaps"]
        assert (swaps["swaps"], swaps["requests"], swaps["failed"]) == (2, 240, 0)
        assert swaps["swap_requests"] > 0
        # What was served is gone.
        assert [path.name for path in output.iterdir()] == ["serving.json"]
        timed = tuple(Timed(**each) for each in printed["requests"])
        fields = {field.name: swaps[field.name] for field in dataclasses.fields(Swaps)}
        made = ServingSpeed(
            model=model, seed=42, cores=2, start_seconds=printed["start_seconds"], timed=timed, swaps=Swaps(**fields)
        )
        text = io.StringIO()
        serving_load.show(made, Console(file=text, width=80))
        lines = text.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        assert any("rank 1,000, REST" in line and " 2 " in line for line in lines)
        assert "0 of 240 requests failed" in text.getvalue()

    def test_what_is_no_model_is_refused(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["benchmark", "serving", "--model", str(tmp_path), "--output", str(tmp_path / "benchmark")])
        assert ended.value.code == ExitCode.BAD_INPUT
