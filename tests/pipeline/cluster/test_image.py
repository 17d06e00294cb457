"""The image: what its Dockerfile copies and installs. No Docker engine is needed."""

from __future__ import annotations

import fnmatch
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest

from pipeline.cluster import kubeflow_task
from tests.conftest import ROOT
from tests.pipeline.cluster.replay_environment import image_environment

DOCKERFILE = ROOT / "Dockerfile"
ENTRY_POINT = ["-m", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"]
PACKAGES = ("components", "data", "modules", "pipeline")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of each line, continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def copied() -> list[tuple[list[str], str]]:
    """Sources and destination of each COPY from the build context."""
    found = []
    for instruction, rest in instructions():
        if instruction == "COPY" and not rest.startswith("--from"):
            *sources, destination = shlex.split(rest)
            found.append((sources, destination))
    return found


def is_ignored(path: str) -> bool:
    """Whether .dockerignore leaves a file out: the last pattern that fits it, or a folder above it, decides."""
    ignored = False
    parts = path.split("/")
    prefixes = ["/".join(parts[: size + 1]) for size in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        names = prefixes if not pattern.startswith("**/") else parts
        if any(fnmatch.fnmatchcase(name, pattern.removeprefix("**/")) for name in names):
            ignored = not line.startswith("!")
    return ignored


def context(folder: pathlib.Path) -> pathlib.Path:
    """The files that a build would be given."""
    for sources, _ in copied():
        for source in sources:
            place = ROOT / source
            for path in [place] if place.is_file() else place.rglob("*"):
                name = path.relative_to(ROOT).as_posix()
                if path.is_file() and not is_ignored(name):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, folder / name)
    return folder


def test_every_file_that_it_copies_exists_and_is_sent() -> None:
    sources = [source for each, _ in copied() for source in each]
    files = {"setup.py", "README.md", "movie_ranking_main.py", "requirements/image.txt", "requirements/serve.txt"}
    assert set(PACKAGES) | files == set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert not is_ignored(source)


@pytest.mark.parametrize(
    "path", [".git/config", ".venv/bin/python", "output/x", "tests/conftest.py", "data/ml-100k/u.data",
             "modules/__pycache__/features.cpython-310.pyc", "requirements/legacy.txt",
             "requirements/current.txt", "secret.json"],
)  # fmt: skip
def test_nothing_else_is_sent(path: str) -> None:
    assert is_ignored(path)


def test_it_runs_as_a_user_without_rights_from_a_python_and_glibc_that_the_lane_needs() -> None:
    steps = instructions()
    assert [rest for name, rest in steps if name == "USER"][-1] not in ("root", "0")
    for base in (rest for name, rest in steps if name == "FROM" and not rest.endswith("AS build-boot")):
        # trixie is Debian 13, whose glibc is 2.41.
        version = re.match(r"python:3\.(\d+)-slim-trixie\b", base)
        assert version
        assert int(version[1]) in (11, 12, 13)
    assert steps[-1][0] == "ENTRYPOINT"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--help"], "cli run --help"),
        ([], "cli"),
        (["--version"], "cli --version"),
        (["--id=1-1", "--provision_endpoint=localhost:1"], "boot --id=1-1 --provision_endpoint=localhost:1"),
        (["--worker_pool"], "boot --worker_pool"),
    ],
)
def test_beam_starts_workers_in_it_and_people_commands(tmp_path: pathlib.Path, arguments: list[str], said: str) -> None:
    for name, word in {"movie-ranking": "cli", "boot": "boot"}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\necho {word} "$@"\n')
        (tmp_path / name).chmod(0o755)
    command = json.loads(instructions()[-1][1].replace("/opt/apache/beam/boot", str(tmp_path / "boot")))
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said


def test_boot_is_of_the_version_of_beam_in_the_lock_and_uses_the_environment_of_the_image() -> None:
    (step,) = [rest for name, rest in instructions() if name == "RUN" and "go install" in rest]
    shown = step.replace("GOBIN=/out go install", "echo").replace("image.txt", str(ROOT / "requirements/image.txt"))
    done = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True)
    version = locked("image")["apache-beam"].split(" ")[0]
    assert done.stdout.strip() == f"github.com/apache/beam/sdks/v2/python/container@v{version}"
    assert image_environment(DOCKERFILE)["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"


def test_its_variables_are_those_that_tensorflow_needs() -> None:
    assert image_environment(DOCKERFILE)["TF_USE_LEGACY_KERAS"] == "1"


def locked(name: str) -> dict[str, str]:
    """Version and environment of each package of a lock file."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(.*?) *\\?$", text, re.MULTILINE))


def test_its_lock_has_what_the_entry_point_imports() -> None:
    assert {"tfx", "kfp", "kfp-pipeline-spec", "google-cloud-aiplatform", "tf-keras"} <= set(locked("image"))


def test_its_lock_is_the_current_lanes_without_tools_of_development() -> None:
    image, lane = locked("image"), locked("current")
    # What building and installing the package takes is TensorFlow's too.
    assert "setuptools" in image
    assert not {"pytest", "pytest-xdist", "pytest-timeout", "mypy", "ruff", "hypothesis", "types-pyyaml"} & set(image)
    assert {"pytest", "mypy", "ruff", "hypothesis"} <= set(lane)
    # Tools may need a package with more releases of Python than the product does.
    versions = {package: version.split(" ")[0] for package, version in image.items()}
    assert versions == {package: lane[package].split(" ")[0] for package in image}


def test_the_server_alone_has_a_part_of_the_same_lock_without_tfx() -> None:
    serve, lane = locked("serve"), locked("current")
    asked = (ROOT / "requirements" / "serve.in").read_text(encoding="utf-8").splitlines()
    assert {line for line in asked if not line.startswith("#")} <= set(serve)
    assert not {"tfx", "apache-beam", "ml-metadata", "tf-keras", "pyarrow", "pandas", "kfp"} & set(serve)
    assert {package: version.split(" ")[0] for package, version in serve.items()} == {
        package: lane[package].split(" ")[0] for package in serve
    }


def test_the_server_alone_is_a_stage_that_listens_to_all() -> None:
    steps = instructions()
    start = steps.index(("FROM", "python:3.13-slim-trixie AS serve"))
    stage = steps[start + 1 : next(n for n in range(start + 1, len(steps)) if steps[n][0] == "FROM")]
    assert ("USER", "server") in stage
    assert ("EXPOSE", "8500 8501") in stage
    (entry,) = [rest for name, rest in stage if name == "ENTRYPOINT"]
    assert json.loads(entry)[:4] == ["movie-ranking", "serve", "--host", "0.0.0.0"]


def test_the_package_that_it_installs_is_whole(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("pip", reason="this environment has no pip")
    sources = context(tmp_path / "context")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=sources, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert "pipeline/commands/run.py" in expected
    assert {name for name in inside if name.endswith(".py")} == expected | {"movie_ranking_main.py"}
    engines = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pipeline" / "engines").glob("*/*.*")}
    assert {name for name in engines if name.endswith((".xml", ".sha256"))} <= inside


def _is_current_lane() -> bool:
    library, version = platform.libc_ver()
    return library == "glibc" and tuple(map(int, version.split("."))) >= (2, 39) and sys.version_info >= (3, 11)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not _is_current_lane(), reason="the image's packages need glibc 2.39 and Python 3.11")
def test_its_steps_install_what_runs(tmp_path: pathlib.Path) -> None:
    sources, target = context(tmp_path / "context"), str(tmp_path / "movie-ranking")
    for name, rest in instructions():
        # Packages of the system and users are for the container; all else is done here, in another folder.
        if name == "RUN" and not rest.startswith(("apt-get", "useradd", "GOBIN")):
            step = rest.replace("/opt/movie-ranking", target).replace("python -m venv", f"{sys.executable} -m venv")
            done = subprocess.run(["bash", "-c", step], cwd=sources, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{step}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    environment = {**image_environment(DOCKERFILE), "PATH": f"{target}/bin{os.pathsep}{os.environ['PATH']}"}
    elsewhere = tmp_path / "home"
    elsewhere.mkdir()
    for command, expected in (
        ([f"{target}/bin/python", *ENTRY_POINT, "--help"], "--json_serialized_invocation_args"),
        ([f"{target}/bin/python", *kubeflow_task.COMMAND[1:], "--help"], "--output_folder"),
        ([f"{target}/bin/movie-ranking", "--help"], "compile"),
        ([f"{target}/bin/python", "-c", "import components.ratings_evaluator as e; print(e.__file__)"], target),
    ):
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert expected in done.stdout
