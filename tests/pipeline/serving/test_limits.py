"""Limits of requests, and connections that stay silent or slow."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.serve import LIMITS
from pipeline.serving.errors import RequestError
from pipeline.serving.keys import ApiKey
from pipeline.serving.limits import Limits, check_depth
from pipeline.serving.model_process import ModelProcess
from tests.pipeline.serving import servers
from tests.pipeline.serving.conftest import KNOWN
from tests.pipeline.serving.servers import Running

BASE = "/v1/models/movie_ranking"
PAIR = {"signature_name": "predict", "inputs": {"user_id": ["u1"], "movie_title": [KNOWN]}}
SMALL = Limits(
    body_bytes=20_000,
    values=50,
    under_way=2,
    seconds=1.0,
    head_seconds=1.0,
    idle_seconds=1.5,
    drain_seconds=5.0,
)
KEY = "a key of many characters"


@pytest.fixture(scope="module")
def small(output: pathlib.Path) -> Iterator[Running]:
    """A server with limits that are soon reached."""
    with servers.running(output, limits=SMALL, threads=2) as running:
        yield running


def rank(titles: int) -> dict:
    return {"signature_name": "rank", "inputs": {"user_id": ["u1"], "movie_title": ["a"] * titles}}


def test_options_have_the_defaults_of_the_limits() -> None:
    defaults = Limits()
    assert {field: default for field, default, _ in LIMITS.values()} == vars(defaults)


def test_a_large_body_is_refused(small: Running) -> None:
    answer = small.predict({**PAIR, "more": "x" * SMALL.body_bytes})
    assert (answer.status, answer.error) == (413, "expected a body of up to 20,000 bytes; got more")
    with small.prediction() as stub, pytest.raises(grpc.RpcError) as refused:
        stub.Predict(servers.predict_request("rank", {"user_id": ["u1"], "movie_title": ["x" * 30_000]}), timeout=60)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert small.predict(PAIR).status == 200


def test_a_large_body_that_does_not_say_so_is_refused(small: Running) -> None:
    with socket.create_connection(("127.0.0.1", small.rest), timeout=servers.TIMEOUT_S) as connection:
        connection.sendall(
            f"POST {BASE}:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 3
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_many_titles_are_refused(small: Running) -> None:
    assert small.predict(rank(SMALL.values - 1)).status == 200
    answer = small.predict(rank(SMALL.values))
    assert (answer.status, "expected up to 50 values in a request" in answer.error) == (400, True)
    request = servers.predict_request("rank", rank(SMALL.values)["inputs"])
    with small.prediction() as stub, pytest.raises(grpc.RpcError) as refused:
        stub.Predict(request, timeout=60)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
def test_deep_json_is_refused_within_milliseconds(served: Running, open_: str, close: str) -> None:
    levels = 1_000_000 // len(open_)
    for body in (f'{{"inputs": {open_ * levels}', f'{{"inputs": {open_ * levels}1{close * levels}}}'):
        started = time.perf_counter()
        with pytest.raises(RequestError, match="nested up to 16 deep"):
            check_depth(body.encode(), Limits().depth)
        assert time.perf_counter() - started < 0.1
        answer = served.predict(body)
        assert (answer.status, "nested up to 16 deep" in answer.error) == (400, True)
    assert served.predict(PAIR).status == 200


@given(
    st.recursive(
        st.text(max_size=4) | st.just('[{"\\'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner),
    )
)
def test_depth_is_that_of_the_parsed_text(value: object) -> None:
    def depth(each: object) -> int:
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    text, levels = json.dumps(value).encode(), depth(value)
    check_depth(text, levels)
    if levels:
        with pytest.raises(RequestError):
            check_depth(text, levels - 1)


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 400_000, b"[" * 20 + b'"' * 400_000, b'[{"\\' * 100_000])
def test_depth_is_told_in_linear_time(text: bytes) -> None:
    started = time.perf_counter()
    with contextlib.suppress(RequestError):
        check_depth(text, 16)
    assert time.perf_counter() - started < 2


class Gate:
    """Keeps the model from answering until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.entered = threading.Event(), threading.Semaphore(0)
        run = ModelProcess.run

        def wait(model, signature, inputs):
            self.entered.release()
            assert self.opened.wait(servers.TIMEOUT_S)
            return run(model, signature, inputs)

        monkeypatch.setattr(ModelProcess, "run", wait)


def test_too_many_at_once_are_refused_and_slow_ones_given_up(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    answers: list[servers.Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(small.predict(PAIR))) for _ in range(SMALL.under_way)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert gate.entered.acquire(timeout=servers.TIMEOUT_S)
    refused = small.predict(PAIR)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.error == "expected up to 2 requests under way; got more; try again later"
    with small.prediction() as stub, pytest.raises(grpc.RpcError) as error:
        stub.Predict(servers.predict_request("predict", PAIR["inputs"]), timeout=60)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    # Whoever looks after the server gets through.
    assert small.ask("GET", "/healthz").status == 200
    assert "movie_ranking_requests_under_way 2.0" in small.ask("GET", "/monitoring/prometheus/metrics").body.decode()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [504, 504]
    assert answers[0].error == "expected an answer within 1 s; it takes longer"
    # What is still computed takes its place until it is done.
    assert small.predict(PAIR).status == 503
    gate.opened.set()
    small.wait_for(lambda: small.predict(PAIR).status == 200)


def test_a_deadline_of_grpc_is_kept(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with small.prediction() as stub, pytest.raises(grpc.RpcError) as late:
        stub.Predict(servers.predict_request("predict", PAIR["inputs"]), timeout=0.3)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    gate.opened.set()
    small.wait_for(lambda: small.predict(PAIR).status == 200)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST ",
        f"POST {BASE}:predict HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode(),
        f"POST {BASE}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode(),
    ],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_slow_connections_are_closed(small: Running, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", small.rest), timeout=servers.TIMEOUT_S) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        received = b""
        while True:
            try:
                part = connection.recv(10_000)
            except ConnectionResetError:
                break
            if not part:
                break
            received += part
    assert time.monotonic() - started < 20
    assert not received or received.startswith(b"HTTP/1.1 504 ")
    assert small.predict(PAIR).status == 200


def test_idle_connections_are_closed_and_busy_ones_kept(small: Running) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", small.rest), timeout=servers.TIMEOUT_S) as connection:
        # Several in turn, each sooner than a connection may be idle.
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.7)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(10_000) == b""


def test_a_key_is_asked_for(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "key").write_text(f"  {KEY}\n")
    with servers.running(output, api_key=ApiKey.read(str(tmp_path / "key"))) as served:
        for given in ({}, {"X-API-Key": "another"}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": "é" * 9}):
            answer = served.ask("POST", f"{BASE}:predict", json.dumps(PAIR), given)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert KEY not in answer.error
        for path in (BASE, "/openapi.json", "/monitoring/prometheus/metrics", "/none"):
            assert served.ask("GET", path).status == 401
        for given in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            assert served.ask("POST", f"{BASE}:predict", json.dumps(PAIR), given).status == 200
        request = servers.predict_request("predict", PAIR["inputs"])
        with served.prediction() as stub:
            for metadata in ((("x-api-key", KEY),), (("authorization", f"Bearer {KEY}"),)):
                assert stub.Predict(request, timeout=60, metadata=metadata).outputs
            with pytest.raises(grpc.RpcError) as refused:
                stub.Predict(request, timeout=60)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_metrics_count_by_signature_version_and_protocol(small: Running) -> None:
    version = next(iter(small.states()))
    labels = f'protocol="rest",signature="similar",version="{version}"'

    def figure(name: str) -> float:
        text = small.ask("GET", "/monitoring/prometheus/metrics").body.decode()
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)

    ok = f'movie_ranking_requests_total{{code="OK",{labels}}}'
    before = figure(ok)
    similar = {"signature_name": "similar", "inputs": {"movie_title": [KNOWN], "k": 1, "exclude": [], "only": []}}
    for _ in range(3):
        assert small.predict(similar).status == 200
    assert small.predict("{").status == 400
    # Names of signatures that there are not would be as many as anyone likes.
    assert small.predict({"signature_name": "made up", "inputs": {}}).status == 400
    assert figure(ok) == before + 3
    assert figure(f"movie_ranking_request_seconds_count{{{labels}}}") == before + 3
    assert figure('movie_ranking_errors_total{code="INVALID_ARGUMENT",protocol="rest",signature="",') >= 1
    assert "made up" not in small.ask("GET", "/monitoring/prometheus/metrics").body.decode()


def test_the_access_log_says_who_asked_what_and_how_long_it_took(small: Running) -> None:
    small.ask("POST", f"{BASE}:predict", json.dumps(PAIR), {"X-Request-ID": "logged-1"})
    small.wait_for(lambda: any(each.get("request_id") == "logged-1" for each in small.events))
    line = next(each for each in small.events if each.get("request_id") == "logged-1")
    assert (line["event"], line["client"], line["protocol"], line["status"]) == ("request", "127.0.0.1", "rest", 200)
    assert (line["what"], line["signature"], line["code"]) == (f"POST {BASE}:predict", "predict", "OK")
    assert line["version"] == str(next(iter(small.states())))
    assert 0 < line["ms"] < 60_000
    assert line["bytes"] > 0
    # Nobody's id is in it.
    assert "u1" not in json.dumps(line)
