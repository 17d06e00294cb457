"""The file that TFX's own command line takes: runs the pipeline on this machine, as `movie-ranking run` does.

`tfx pipeline create --engine=local --pipeline_path=pipeline/local_runner.py`, then `tfx run create`.
"""

from __future__ import annotations

import os

from pipeline import cli, environment
from pipeline.commands.errors import alone, check_output, usage_errors
from pipeline.config import resolve
from pipeline.exit_codes import ExitCode
from pipeline.local import run

CONFIG_VARIABLE = "MOVIE_RANKING_CONFIG"


def main() -> None:
    """Runs the default configuration, on MovieLens 100K, or that of a YAML file.

    TFX's command line passes no flags on, so the environment variable MOVIE_RANKING_CONFIG names the file.
    """
    environment.prepare()
    cli.guarded(_run)


def _run() -> ExitCode:
    with usage_errors():
        config = resolve.resolve(config_file=os.environ.get(CONFIG_VARIABLE))
        check_output(config)
        with alone(config, "run"):
            return run.run(config, plain=True)


if __name__ == "__main__":
    main()
