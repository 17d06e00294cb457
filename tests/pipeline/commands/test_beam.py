"""`movie-ranking beam serve`, told to stop."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from modules.errors import UserError
from pipeline import cli
from pipeline.engines import jars
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_engine_that_is_served_leaves_nothing_behind(tmp_path: pathlib.Path, number: signal.Signals) -> None:
    try:
        jars.FLINK.fetch(print)
        jars.java()
    except UserError as error:
        pytest.skip(str(error))
    serve = subprocess.Popen(
        [sys.executable, "-c", "from pipeline import cli; cli.main(['beam', 'serve', 'flink'])"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serve.stdout is not None
    assert serve.stdout.readline() == "Beam's job server for flink is ready; use it with:\n"
    assert serve.stdout.readline().startswith("  --beam flink --set beam.job_endpoint=localhost:")
    assert list(tmp_path.iterdir())
    serve.send_signal(number)
    assert serve.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_fetched_is_not_served(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as done:
        cli.main(["beam", "serve", "spark"])
    assert done.value.code == 2
    assert "run `movie-ranking beam fetch spark`" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        cli.main(["doctor", "--beam", "spark"])
    assert done.value.code == 1
    assert "Spark 3.5.0: not fetched" in capsys.readouterr().out
