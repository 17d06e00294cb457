"""What README.md and docs/serving.md say to ask a server is asked, word for word but for the ports."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from modules import paths
from pipeline.commands.benchmark import serving as benchmark
from pipeline.commands.serve import LIMITS, serve
from pipeline.serving.limits import Limits
from pipeline.serving.request_log import RequestLog
from tests.conftest import ROOT
from tests.docs import pages
from tests.pipeline.serving import conftest as serving_fixtures
from tests.pipeline.serving import pushing, servers
from tests.pipeline.serving.servers import Running

PAGE = ROOT / "docs" / "serving.md"
# For a machine that has much else to do.
START_TIMEOUT_S = 400
BOTH = pytest.mark.parametrize("page", [pages.README, PAGE], ids=lambda page: page.name)

# One model of a session, wherever it is asked for.
model = serving_fixtures.model


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of the log of requests."""
    return tmp_path_factory.mktemp("logged") / "requests"


@pytest.fixture(scope="module")
def server(model: str, requests: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    output = tmp_path_factory.mktemp("output")
    pushing.push(model, output)
    log = RequestLog(requests, 1.0, 1 << 20, 0.1, 10 << 20, tell=print)
    with contextlib.closing(log), servers.running(output, ready=False, request_log=log) as running:
        running.wait_for(lambda: running.ask("GET", "/readyz").status == 200, START_TIMEOUT_S)
        yield running


def moved(code: str, server: Running) -> str:
    """The same to the ports of a server."""
    return code.replace("localhost:8501", f"127.0.0.1:{server.rest}").replace(
        "localhost:8500", f"127.0.0.1:{server.grpc}"
    )


def curls(page: pathlib.Path) -> list[str]:
    """Each call of curl on a page, with its lines."""
    blocks = [block for block in pages.blocks(page.read_text(encoding="utf-8")) if "curl " in block]
    return [call for block in blocks for call in re.findall(r"^curl .*?(?=^curl |\Z)", block, re.MULTILINE | re.DOTALL)]


def programs(page: pathlib.Path, word: str) -> list[str]:
    return [block for block in pages.blocks(page.read_text(encoding="utf-8"), "python") if word in block]


def run(program: str) -> list[str]:
    """The lines that a program prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "page", "exec"), {"__name__": "page"})
    return printed.getvalue().splitlines()


def plain(model: str, signature: str, inputs: dict) -> dict[str, np.ndarray]:
    """What plain TensorFlow answers."""
    asked = {name: servers.tensor(name, value) for name, value in inputs.items()}
    answer = tf.saved_model.load(paths.plain(model)).signatures[signature](**asked)
    return {name: value.numpy() for name, value in answer.items()}


@BOTH
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_call_of_curl_is_answered_as_plain_tensorflow_does(page: pathlib.Path, model: str, server) -> None:
    calls = curls(page)
    assert calls
    for call in calls:
        done = subprocess.run(["bash", "-c", moved(call, server)], capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)
        assert "error" not in answer, call
        body = re.search(r"-d '(.*)'", call, re.DOTALL)
        if body is None:
            continue
        asked = json.loads(body[1])
        if "instances" in asked:
            columns = {name: [row[name] for row in asked["instances"]] for name in asked["instances"][0]}
            expected = plain(model, asked["signature_name"], columns)
            # Rows of a signature with one output are its values.
            is_alone = len(expected) == 1
            given = {name: [row if is_alone else row[name] for row in answer["predictions"]] for name in expected}
        else:
            expected, given = plain(model, asked["signature_name"], asked["inputs"]), answer["outputs"]
        assert given.keys() == expected.keys()
        for name, values in expected.items():
            if values.dtype == object:
                assert given[name] == [each.decode() for each in values]
            else:
                np.testing.assert_allclose(np.array(given[name]).reshape(values.shape), values, atol=1e-6)


def test_the_programs_of_the_page_run(model: str, server: Running) -> None:
    expected = plain(model, "rank", {"user_id": ["90"], "movie_title": ["Heat (1995)", "Alien (1979)"]})
    titles = [title.decode() for title in expected["movie_title"]]
    (over_rest,), (over_grpc,) = programs(PAGE, "8501"), programs(PAGE, "8500")
    (line,) = run(moved(over_rest, server))
    assert all(title in line for title in titles)
    assert line.index(titles[0]) < line.index(titles[1])
    (line,) = run(moved(over_grpc, server))
    assert line == f"{max(server.states())} {expected['movie_title']}"


def test_what_was_asked_is_read_from_the_log(server: Running, requests: pathlib.Path) -> None:
    body = {"signature_name": "rank", "inputs": {"user_id": ["90"], "movie_title": ["Heat (1995)", "Alien (1979)"]}}
    answer = server.predict(body, **{"X-Request-ID": "docs-1"})
    assert answer.status == 200
    (program,) = programs(PAGE, "shown_titles")
    program = program.replace('"requests"', repr(str(requests)))
    server.wait_for(lambda: any(line.startswith("docs-1 ") for line in run(program)))
    lines = [line for line in run(program) if line.startswith("docs-1 ")]
    outputs = answer.json["outputs"]
    version = max(server.states())
    assert [line.rpartition(" ")[0] for line in lines] == [
        f"docs-1 {version} 90 {rank} {title}" for rank, title in enumerate(outputs["movie_title"], start=1)
    ]
    scores = [float(line.rpartition(" ")[2]) for line in lines]
    assert scores == pytest.approx(outputs["predicted_rating"], abs=1e-6)


def test_every_option_of_the_server_is_on_the_page() -> None:
    named = {span.split()[0] for span in pages.spans(PAGE) if span.startswith("--")}
    for command in (serve, benchmark):
        options = {option for parameter in command.params for option in parameter.opts}
        missing = options - named - {"--clients", "--requests", "--seconds", "--seed", "--model", "--swap", "--minutes"}
        assert not missing


def test_the_limits_on_the_page_are_those_in_force() -> None:
    rows = {pages.codes(row[0])[0]: row[1] for row in pages.table(PAGE.read_text(encoding="utf-8"), "limit")}
    limits = Limits()
    assert rows.keys() == LIMITS.keys()
    for option, (field, _, _) in LIMITS.items():
        number = float(re.match(r"[\d,]+", rows[option])[0].replace(",", ""))
        assert getattr(limits, field) == number * (1 << 20 if "MiB" in rows[option] else 1), option


def test_the_figures_on_the_page_are_those_that_the_server_has(server: Running) -> None:
    rows = pages.table(PAGE.read_text(encoding="utf-8"), "figure")
    named = {name for row in rows for name in pages.codes(row[0])}
    text = server.ask("GET", "/monitoring/prometheus/metrics").body.decode()
    kinds = dict(re.findall(r"^# TYPE (movie_ranking_\w+) (\w+)$", text, re.MULTILINE))
    there = {name if name.endswith("_total") or kind != "counter" else f"{name}_total" for name, kind in kinds.items()}
    assert named == {name for name in there if not name.endswith("_created")}
