"""TFX's own command line takes the local runner's file as it is."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from data import synthetic
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_create_and_run(tmp_path: pathlib.Path) -> None:
    data, work = tmp_path / "ratings", tmp_path / "work"
    work.mkdir()
    synthetic.write(data, rows=3_000, users=40, titles=100, seed=1)
    config = work / "config.yaml"
    config.write_text(
        f"data: {{root: {data}}}\noutput: {work / 'output'}\nevaluator: {{rmse_bound: 9, baseline: none}}\n"
        "trainer: {preset: notebook, model: {epochs: 1}}\n"
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(work), "HOME": str(work), "MOVIE_RANKING_CONFIG": str(config)}
    tfx = [str(pathlib.Path(sys.executable).with_name("tfx"))]
    flags = ["--engine=local"]

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [*tfx, *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    created = call("pipeline", "create", *flags, f"--pipeline_path={ROOT / 'pipeline' / 'local_runner.py'}")
    assert 'Pipeline "movie-ranking" created successfully' in created
    assert not (work / "output" / "serving_model").exists()
    call("run", "create", *flags, "--pipeline_name=movie-ranking")
    record = json.loads((work / "output" / "last_run.json").read_text())
    assert record["exit_code"] == 0
    assert pathlib.Path(record["pushed_path"], "saved_model.pb").exists()
