"""The command beside folders and files of a user's own that have the names of our packages."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import movie_ranking_main
from components import probe_process
from pipeline.commands.errors import check_workers
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.exit_codes import ExitCode
from tests.conftest import ROOT

COMMAND = str(pathlib.Path(sys.executable).with_name("movie-ranking"))
DECOY = 'raise SystemExit("the code of another project")\n'


@pytest.fixture
def project(tmp_path: pathlib.Path) -> pathlib.Path:
    """Another project, with a package or a module of each of our names."""
    for name in movie_ranking_main.PACKAGES[1:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(DECOY)
    (tmp_path / "pipeline.py").write_text(DECOY)
    return tmp_path


def version(cwd: pathlib.Path, command: str = COMMAND, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [command, "--version"], cwd=cwd, env=environment | variables, capture_output=True, text=True, check=False
    )


def test_it_starts_in_a_folder_that_is_not_on_the_path(project: pathlib.Path) -> None:
    done = version(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("movie-ranking, version")


@pytest.mark.parametrize(
    ("name", "found"),
    [("pipeline.py", "pipeline.py"), ("data/__init__.py", "data"), ("modules/__init__.py", "modules")],
)
def test_a_package_of_anothers_on_the_path_is_named_in_one_line(tmp_path: pathlib.Path, name: str, found: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(DECOY)
    done = version(tmp_path, PYTHONPATH=".")
    assert (done.returncode, done.stdout) == (ExitCode.BAD_INPUT, "")
    package = found.removesuffix(".py")
    assert done.stderr == (
        f"movie-ranking: expected Python to find its packages in {ROOT}; got {package} in {tmp_path / found}; unset "
        "PYTHONPATH, which is '.', or start from a folder and an environment without these\n"
    )


def test_our_own_packages_may_be_on_the_path(tmp_path: pathlib.Path) -> None:
    assert version(tmp_path, PYTHONPATH=str(ROOT)).returncode == 0
    (tmp_path / "link").symlink_to(ROOT)
    assert version(tmp_path, PYTHONPATH="link").returncode == 0


@pytest.mark.slow
def test_what_pip_installs_notices_them_too(project: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("pip", reason="this environment has no pip")
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("target")
    for package in movie_ranking_main.PACKAGES:
        shutil.copytree(ROOT / package, sources / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.py", "README.md", "movie_ranking_main.py"):
        shutil.copy(ROOT / file, sources)
    flags = ["-q", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, str(sources)], check=True, capture_output=True)
    command = str(target / "bin" / "movie-ranking")
    assert version(project, command, PYTHONPATH=str(target)).returncode == 0
    done = version(project, command, PYTHONPATH=f".{os.pathsep}{target}")
    assert done.returncode == ExitCode.BAD_INPUT
    assert f"its packages in {target}; got pipeline in {project / 'pipeline.py'}, components in" in done.stderr


def test_a_folder_of_files_counts_where_it_is_all_that_has_the_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data").mkdir()
    # An editable installation comes after the whole path, a package further on before the folder.
    assert f"got data in {tmp_path / 'data'}; unset" in version(tmp_path, PYTHONPATH=".").stderr
    assert version(tmp_path, PYTHONPATH=f".{os.pathsep}{ROOT}").returncode == 0


def test_names_and_codes_are_those_of_our_packages() -> None:
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert set(movie_ranking_main.PACKAGES) == ours
    assert (movie_ranking_main.BAD_INPUT, movie_ranking_main.INTERRUPTED) == (ExitCode.BAD_INPUT, ExitCode.INTERRUPTED)


@pytest.mark.slow
def test_the_process_that_probes_a_model_imports_ours(project: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (failure,) = probe_process.probe("nowhere", 1.0, 5.0)
    assert failure.startswith("the model does not load")


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="this Python can leave the current folder out")
def test_workers_that_would_import_others_are_refused(project: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def config(**beam: object) -> PipelineConfig:
        return PipelineConfig(data={"root": "ratings"}, beam=beam)

    monkeypatch.chdir(project)
    check_workers(config())
    check_workers(config(workers=2, running_mode="multi_threading"))
    with pytest.raises(
        ValueError, match=f"got {project / 'pipeline.py'}, {project / 'components'}, .*start from another"
    ):
        check_workers(config(workers=2))
    monkeypatch.chdir(ROOT)
    check_workers(config(workers=2))


def test_an_interrupt_while_the_command_line_is_loaded_is_a_line(tmp_path: pathlib.Path) -> None:
    script = (
        "import builtins, movie_ranking_main\n"
        "load = builtins.__import__\n"
        "def interrupted(name, *given):\n"
        "    if name == 'pipeline':\n        raise KeyboardInterrupt\n"
        "    return load(name, *given)\n"
        "builtins.__import__ = interrupted\n"
        "movie_ranking_main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "\ninterrupted; the same command resumes\n")


@pytest.mark.parametrize(
    ("before", "code"),
    [
        # What ends the process, such as threads of TensorFlow, takes its time.
        ("atexit.register(signal.raise_signal, signal.SIGINT)", 0),
        ("from pipeline import cli; cli.main = lambda: signal.raise_signal(signal.SIGINT)", ExitCode.INTERRUPTED),
    ],
    ids=["while the process ends", "after the command"],
)
def test_an_interrupt_when_all_is_done_is_no_death_by_signal(before: str, code: int) -> None:
    program = (
        "import atexit, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{before}\n"
        "sys.argv = ['movie-ranking', '--version']\n"
        "import movie_ranking_main\n"
        "movie_ranking_main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
