"""The set-up script on machines that lack something: the error names what to install, and nothing is built."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TOOLS = (
    "bash",
    "cat",
    "cut",
    "dirname",
    "env",
    "flock",
    "getconf",
    "head",
    "printf",
    "rm",
    "sha256sum",
    "sort",
    "uname",
)


@pytest.fixture
def machine(tmp_path: pathlib.Path):
    """A copy of what set-up needs, and a PATH with nothing on it but shell tools and what a test adds."""
    project, tools = tmp_path / "project", tmp_path / "bin"
    (project / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "setup.py", project)
    for path in (ROOT / "requirements").iterdir():
        shutil.copy(path, project / "requirements")
    tools.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    return project, tools


def set_up(machine, lane: str = "") -> tuple[int, str]:
    project, tools = machine
    environment = {"PATH": str(tools), "HOME": str(project), "LANE": lane}
    done = subprocess.run(
        ["/bin/bash", "requirements/setup.sh"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (project / ".venv" / ".movie-ranking").exists()
    return done.returncode, done.stderr


def add(tools: pathlib.Path, name: str, script: str) -> None:
    (tools / name).unlink(missing_ok=True)
    (tools / name).write_text(f"#!/bin/bash\n{script}\n")
    (tools / name).chmod(0o755)


def fake_python(
    tools: pathlib.Path, name: str, version: str, venv: bool = True, headers: pathlib.Path | None = None
) -> None:
    """An interpreter that answers the questions of set-up, and can do nothing else."""
    add(
        tools,
        name,
        f"""case "$2" in
  *version_info*) echo {version} ;;
  *sys.executable*) echo {tools / name} ;;
  *ensurepip*) exit {0 if venv else 1} ;;
  *sysconfig*) echo {headers or "/nowhere"} ;;
  *) echo "Python {version}"; exit 1 ;;
esac""",
    )


def test_an_unknown_lane_is_refused(machine) -> None:
    code, said = set_up(machine, "newest")
    assert code == 2
    assert "LANE must be 'current' or 'legacy'; got 'newest'" in said


def test_without_any_python_the_error_says_what_each_lane_needs(machine) -> None:
    code, said = set_up(machine)
    assert code == 2
    assert "no Python was found" in said
    assert "Python 3.11 to 3.13" in said
    assert "Python 3.10" in said
    assert "apt-get install" in said


def test_the_current_lane_is_refused_where_glibc_is_too_old(machine) -> None:
    add(machine[1], "getconf", "echo glibc 2.36")
    code, said = set_up(machine, "current")
    assert code == 2
    assert "needs glibc 2.39 or newer" in said
    assert "this machine has 2.36" in said


def test_the_current_lane_is_refused_without_its_python(machine) -> None:
    add(machine[1], "getconf", "echo glibc 2.41")
    fake_python(machine[1], "python3.10", "3.10")
    code, said = set_up(machine, "current")
    assert code == 2
    assert "needs Python 3.11, 3.12 or 3.13" in said


@pytest.mark.parametrize(
    ("glibc", "python", "lane"), [("2.41", "3.13", "current"), ("2.36", "3.10", "legacy"), ("2.41", "3.10", "legacy")]
)
def test_missing_compiler_and_headers_are_named(machine, glibc: str, python: str, lane: str) -> None:
    add(machine[1], "getconf", f"echo glibc {glibc}")
    fake_python(machine[1], f"python{python}", python, venv=False)
    code, said = set_up(machine)
    assert code == 2
    assert "missing: g++ python3-venv python3-dev" in said
    assert "apt-get install g++ python3-venv python3-dev" in said
    # With the compiler there, only the rest is named.
    add(machine[1], "g++", "")
    assert "missing: python3-venv python3-dev" in set_up(machine, lane)[1]


def test_a_shim_that_exits_with_an_error_is_no_python(machine) -> None:
    project, tools = machine
    add(tools, "getconf", "echo glibc 2.36")
    add(tools, "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    real = project / ".pyenv" / "versions" / "3.10.99" / "bin"
    real.mkdir(parents=True)
    fake_python(real, "python", "3.10")
    code, said = set_up(machine)
    assert code == 2
    # It went on to pyenv's own folder, and found what only the next check refuses.
    assert "missing: g++ python3-dev" in said


def test_a_ready_environment_is_left_alone() -> None:
    stamp = ROOT / ".venv" / ".movie-ranking"
    if not stamp.exists() or not sys.prefix.startswith(str(ROOT / ".venv")):
        pytest.skip("not running in the environment that set-up builds")
    before = stamp.stat().st_mtime_ns
    lane = stamp.read_text().split()[0]
    environment = {**os.environ, "LANE": lane}
    done = subprocess.run(["bash", "requirements/setup.sh"], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout == b""
    assert stamp.stat().st_mtime_ns == before
