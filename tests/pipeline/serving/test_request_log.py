"""The log of requests: files of TensorFlow Serving's records, whole, bounded, and no burden when the disk is full."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from modules.errors import UserError
from pipeline.serving import shown_titles
from pipeline.serving.request_log import PATTERN, RequestLog
from pipeline.serving.shown_titles import Shown
from tests.conftest import ROOT
from tests.support import serialize

MIB = 1 << 20


def request(signature: str, **inputs: object) -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = "movie_ranking", signature
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


def response(**outputs: object) -> predict_pb2.PredictResponse:
    message = predict_pb2.PredictResponse()
    for name, value in outputs.items():
        message.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


RANK = request("rank", user_id=["90"], movie_title=["Heat (1995)", "Élan vital"])
RANKED = response(movie_title=["Élan vital", "Heat (1995)"], predicted_rating=np.array([4.5, 3.25], np.float32))


class Told:
    """What a log tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


@contextlib.contextmanager
def logging(folder: pathlib.Path, told: Callable[[str], None] | None = None, **more: object) -> Iterator[RequestLog]:
    values = {"share": 1.0, "max_file_bytes": MIB, "max_age_s": 60.0, "max_total_bytes": 10 * MIB, "retry_s": 0.05}
    log = RequestLog(folder, **{**values, **more}, tell=told or Told())
    try:
        yield log
    finally:
        log.close()


def offer(log: RequestLog, number: int = 0, asked=RANK, answered=RANKED) -> None:
    log.offer(lambda: asked, lambda: answered, f"id-{number}", 1_700_000_000)


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob(PATTERN))


def logs(folder: pathlib.Path) -> list[prediction_log_pb2.PredictionLog]:
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for file in files(folder)
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]


def ids(folder: pathlib.Path) -> list[str]:
    return [log.log_metadata.request_origin for log in logs(folder)]


def wait_for(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    never, end = threading.Event(), time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        never.wait(0.01)


def test_a_request_is_read_back_as_it_was_asked_and_answered(tmp_path: pathlib.Path) -> None:
    before = int(time.time())
    with logging(tmp_path / "new" / "requests") as log:
        offer(log)
    (read,) = logs(tmp_path / "new" / "requests")
    assert read.predict_log.request == RANK
    assert read.predict_log.response == RANKED
    metadata = read.log_metadata
    assert (metadata.model_spec.name, metadata.model_spec.signature_name) == ("movie_ranking", "rank")
    assert metadata.model_spec.version.value == 1_700_000_000
    assert metadata.request_origin == "id-0"
    assert metadata.sampling_config.sampling_rate == 1.0
    assert before <= metadata.timestamp_secs <= time.time()
    assert (log.written, log.dropped) == (1, 0)


def test_files_are_rotated_by_size_and_hold_all_in_order(tmp_path: pathlib.Path) -> None:
    with logging(tmp_path, max_file_bytes=1_000) as log:
        for number in range(100):
            offer(log, number)
            # What comes faster than the disk takes it would be dropped, which another test is about.
            wait_for(lambda count=number: log.written > count - 5)
    assert ids(tmp_path) == [f"id-{number}" for number in range(100)]
    sizes = [file.stat().st_size for file in files(tmp_path)]
    assert len(sizes) > 20
    assert max(sizes) <= 1_000
    assert sum(sizes) == sum(log.ByteSize() + 16 for log in logs(tmp_path))
    assert sorted(file.stat().st_mtime_ns for file in files(tmp_path)) == [
        file.stat().st_mtime_ns for file in files(tmp_path)
    ]


def test_a_file_is_complete_when_it_is_old(tmp_path: pathlib.Path) -> None:
    with logging(tmp_path, max_age_s=0.2) as log:
        began = time.monotonic()
        offer(log, 1)
        wait_for(lambda: log.written == 1)
        assert time.monotonic() - began >= 0.2
        assert ids(tmp_path) == ["id-1"]
        offer(log, 2)
        wait_for(lambda: log.written == 2)
    assert len(files(tmp_path)) == 2


def test_the_share_is_drawn_and_nothing_else_is_made(tmp_path: pathlib.Path) -> None:
    made = []
    with logging(tmp_path, share=0.2) as log:
        for _ in range(5_000):
            log.offer(lambda: made.append(1) or RANK, lambda: RANKED, "id", 1)
    # Five standard deviations of 5,000 draws.
    assert len(made) == pytest.approx(1_000, abs=5 * (5_000 * 0.2 * 0.8) ** 0.5)
    assert log.written == len(made) == len(logs(tmp_path))
    assert logs(tmp_path)[0].log_metadata.sampling_config.sampling_rate == 0.2
    with logging(tmp_path / "none", share=0.0) as log:
        offer(log)
    assert files(tmp_path / "none") == []


def test_the_folder_is_bounded_and_loses_the_oldest(tmp_path: pathlib.Path) -> None:
    with logging(tmp_path, max_file_bytes=1_000, max_age_s=0.001, max_total_bytes=4_000) as log:
        for number in range(100):
            offer(log, number)
            wait_for(lambda count=number: log.written == count + 1)
            assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 4_000
    kept = ids(tmp_path)
    assert kept == [f"id-{number}" for number in range(100 - len(kept), 100)]
    assert len(kept) > 5


def test_what_has_no_place_is_dropped_and_counted(tmp_path: pathlib.Path) -> None:
    large = response(movie_title=["x" * 2_000])
    with logging(tmp_path, max_file_bytes=1_000) as log:
        offer(log, answered=large)
        assert log.dropped == 1
    # A folder that is gone takes nothing, so that all wait. The first one's fault is waited for: no file is being tried
    # then, whose requests would take their places again while the others come.
    told, gone = Told(), tmp_path / "gone"
    with (
        logging(gone, told, max_file_bytes=1_000, max_age_s=0.01, retry_s=60.0) as log,
        replaced_by_a_file(gone),
    ):
        offer(log, 0)
        wait_for(lambda: bool(told.lines))
        for number in range(1, 100):
            offer(log, number)
        dropped = log.dropped
        assert dropped > 80
    assert ids(gone) == [f"id-{number}" for number in range(100 - dropped)]
    assert (log.written, log.dropped) == (100 - dropped, dropped)


def test_after_the_end_nothing_is_taken(tmp_path: pathlib.Path) -> None:
    with logging(tmp_path) as log:
        pass
    offer(log)
    assert (log.written, log.dropped, files(tmp_path)) == (0, 1, [])


@contextlib.contextmanager
def replaced_by_a_file(folder: pathlib.Path) -> Iterator[None]:
    """A folder that nothing can be written to, whoever tries."""
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("a file")
    yield
    folder.unlink()
    aside.rename(folder)


def test_a_folder_that_cannot_be_written_to_is_told_once_and_tried_again(tmp_path: pathlib.Path) -> None:
    told, folder = Told(), tmp_path / "requests"
    with logging(folder, told, max_age_s=0.01) as log:
        with replaced_by_a_file(folder):
            offer(log, 1)
            wait_for(lambda: bool(told.lines))
            offer(log, 2)
            threading.Event().wait(0.3)
            assert len(told.lines) == 1
            assert told.lines[0].startswith(f"requests are not logged until {folder} can be written to: ")
        wait_for(lambda: log.written == 2)
        assert told.lines[1:] == [f"requests are logged again: {folder} can be written to"]
        offer(log, 3)
    assert ids(folder) == ["id-1", "id-2", "id-3"]
    assert log.dropped == 0


def test_a_folder_that_cannot_be_written_to_at_the_end_holds_nobody_up(tmp_path: pathlib.Path) -> None:
    told, folder = Told(), tmp_path / "requests"
    with logging(folder, told) as log:
        offer(log)
        offer(log)
        aside = replaced_by_a_file(folder)
        aside.__enter__()
    assert (log.written, log.dropped) == (0, 2)
    assert told.lines[0].startswith("2 requests are not logged: ")


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this process may not mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_once_and_logging_goes_on_when_there_is_room(small_disk: pathlib.Path) -> None:
    told, other = Told(), small_disk / "other"
    with logging(small_disk, told, max_file_bytes=8_000, max_age_s=0.01) as log:
        offer(log, 1)
        wait_for(lambda: log.written == 1)
        with contextlib.suppress(OSError), open(other, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1_024))
        offer(log, 2)
        wait_for(lambda: bool(told.lines))
        assert "space left" in told.lines[0]
        # No half of a file is left.
        assert ids(small_disk) == ["id-1"]
        assert [name for name in os.listdir(small_disk) if name.startswith(".requests-")] == []
        other.unlink()
        wait_for(lambda: log.written == 2)
    assert len(told.lines) == 2
    assert ids(small_disk) == ["id-1", "id-2"]


def test_many_threads_offer_at_once(tmp_path: pathlib.Path) -> None:
    with logging(tmp_path, max_file_bytes=4 * MIB, max_total_bytes=40 * MIB) as log:
        threads = [
            threading.Thread(target=lambda first=first: [offer(log, first + each) for each in range(500)])
            for first in range(0, 4_000, 500)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ids(tmp_path)) == sorted(f"id-{number}" for number in range(4_000))
    assert (log.written, log.dropped) == (4_000, 0)


SERVER = """
import sys
from pipeline import environment
environment.prepare()
from tests.pipeline.serving import test_request_log as tests
import pathlib
log = tests.RequestLog(pathlib.Path(sys.argv[1]), 1.0, 2_000, 0.01, 100_000_000, tell=print)
number = 0
print("started", flush=True)
while True:
    tests.offer(log, number)
    number += 1
"""


@pytest.mark.slow
def test_a_kill_leaves_whole_files_and_the_next_one_removes_the_rest(tmp_path: pathlib.Path) -> None:
    for _ in range(3):
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
        assert server.stdout.readline() == b"started\n"
        seen = len(files(tmp_path))
        wait_for(lambda seen=seen: len(files(tmp_path)) > seen + 3)
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert ids(tmp_path)
    (tmp_path / f".{files(tmp_path)[0].name}").write_bytes(b"cut")
    with logging(tmp_path, max_total_bytes=200 * MIB):
        pass
    assert [name for name in os.listdir(tmp_path) if name.startswith(".requests-")] == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"share": 1.5}, "expected a share of the requests from 0 to 1; got 1.5"),
        ({"share": float("nan")}, "expected a share of the requests from 0 to 1; got nan"),
        ({"max_age_s": 0.0}, "expected seconds above 0"),
        ({"max_age_s": float("inf")}, "expected seconds above 0"),
        ({"max_file_bytes": 0}, "at least twice as many for all of them; got 0 and"),
        ({"max_file_bytes": 6 * MIB}, "at least twice as many for all of them; got 6,291,456 and 10,485,760"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: pathlib.Path, values: dict, said: str) -> None:
    with pytest.raises(UserError) as raised, logging(tmp_path / "new", **values):
        pass
    assert said in str(raised.value)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_none_or_taken_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="expected a folder for requests that can be made"), logging(tmp_path / "file"):
        pass
    taken = tmp_path / "taken"
    with logging(taken), pytest.raises(UserError, match="that no other server writes to"), logging(taken):
        pass
    with logging(taken):
        pass


EXAMPLES = [serialize({"user_id": "7", "movie_title": title}) for title in ("Alien", "Élan vital")]


@pytest.mark.parametrize(
    ("asked", "answered", "shown"),
    [
        (RANK, RANKED, [("90", "Élan vital", 1, 4.5), ("90", "Heat (1995)", 2, 3.25)]),
        (
            request("predict", user_id=["7", "8", "7"], movie_title=["a", "b", "c"]),
            response(predicted_rating=np.array([[1.0], [2.0], [3.0]], np.float32)),
            [("7", "c", 1, 3.0), ("7", "a", 2, 1.0), ("8", "b", 1, 2.0)],
        ),
        (
            request("serving_default", examples=EXAMPLES),
            response(predicted_rating=np.array([[3.0], [3.0]], np.float32)),
            [("7", "Alien", 1, 3.0), ("7", "Élan vital", 2, 3.0)],
        ),
        (
            request("recommend", user_id=["7"], k=np.int32(2)),
            response(movie_title=["b", "a"], score=np.float32([0.5, 0.25]), predicted_rating=np.float32([3.0, 4.0])),
            [("7", "b", 1, 0.5), ("7", "a", 2, 0.25)],
        ),
        (
            request("recommend_for", movie_title=["c"], user_rating=np.float32([5.0])),
            response(movie_title=["b"], score=np.float32([0.5]), predicted_rating=np.float32([3.0])),
            [(None, "b", 1, 0.5)],
        ),
        (
            request("recommend_users", user_id=["7", "8"], k=np.int32(2)),
            response(movie_title=[["b", "a"], ["c", ""]], score=np.float32([[0.5, 0.25], [0.75, -1.0]])),
            [("7", "b", 1, 0.5), ("7", "a", 2, 0.25), ("8", "c", 1, 0.75)],
        ),
        (request("explain", user_id=["7"]), response(shares=np.float32([[0.1]])), []),
        (
            request("predict", user_id=np.array([], object), movie_title=np.array([], object)),
            response(predicted_rating=np.zeros([0, 1], np.float32)),
            [],
        ),
    ],
    ids=lambda value: value.model_spec.signature_name if isinstance(value, predict_pb2.PredictRequest) else "",
)
def test_each_title_that_was_shown_has_its_rank_and_score(tmp_path, asked, answered, shown) -> None:
    with logging(tmp_path) as log:
        offer(log, 5, asked, answered)
    read = list(shown_titles.read(tmp_path))
    assert [each[3:] for each in read] == shown
    assert {each[:2] for each in read} == ({("id-5", 1_700_000_000)} if shown else set())
    assert all(isinstance(each, Shown) for each in read)
    json.dumps(read)
