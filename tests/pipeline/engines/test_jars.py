"""Libraries that are fetched: what is not what it should be is never run."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import sys

import pytest

from modules.errors import UserError
from pipeline.engines import guard, jars
from pipeline.engines.programs import Program

DISTRIBUTION = jars.Distribution("flink", "Flink 1", 1)
CONTENT = {"a.jar": b"a", "b.jar": b"b"}


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An empty cache folder, and checksums of two small files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(jars.Distribution, "checksums", lambda self: sums)
    return tmp_path


def put_maven(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Has `mvn` be a script, in which $TO is the folder that it is to fill."""
    place = folder / "bin"
    place.mkdir()
    for name, text in {"mvn": script, "java": "echo 'openjdk version \"17.0.1\"' >&2"}.items():
        (place / name).write_text(f'#!/bin/sh\nfor last; do :; done; TO="${{last#*=}}"\n{text}\n')
        (place / name).chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")


GOOD = 'mkdir -p "$TO"; printf a > "$TO/a.jar"; printf b > "$TO/b.jar"; echo once >> "$(dirname "$0")/asked"'


def test_fetched_once_and_then_there(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(cache, monkeypatch, GOOD)
    assert DISTRIBUTION.fault() == "not fetched"
    assert [DISTRIBUTION.fetch(lambda line: None) for _ in range(2)] == [True, False]
    assert DISTRIBUTION.require() == DISTRIBUTION.folder
    assert (cache / "bin" / "asked").read_text() == "once\n"
    assert not list(DISTRIBUTION.folder.parent.glob(".partial-*"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "a.jar").write_bytes(b"x"), "a.jar with SHA-256 2d711642b726b04401627ca9fbac32f5"),
        (lambda folder: (folder / "b.jar").unlink(), "1 of 2 files missing, such as b.jar"),
        (lambda folder: (folder / "c.jar").touch(), "files that are not of it, such as c.jar"),
    ],
)
def test_what_was_changed_is_not_run_and_is_fetched_anew(cache, monkeypatch: pytest.MonkeyPatch, damage, said) -> None:
    put_maven(cache, monkeypatch, GOOD)
    DISTRIBUTION.fetch(lambda line: None)
    damage(DISTRIBUTION.folder)
    with pytest.raises(UserError, match=said):
        DISTRIBUTION.require()
    assert DISTRIBUTION.fetch(lambda line: None)
    assert DISTRIBUTION.fault() is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('mkdir -p "$TO"; printf x > "$TO/a.jar"; printf b > "$TO/b.jar"', "expected of Maven the files of Flink 1"),
        ("echo '[ERROR] no network'; exit 1", "ended with 1: .ERROR. no network"),
        ("true", "got not fetched"),
    ],
)
def test_what_maven_does_not_bring_is_said(cache, monkeypatch: pytest.MonkeyPatch, script: str, said: str) -> None:
    put_maven(cache, monkeypatch, script)
    with pytest.raises(UserError, match=said):
        DISTRIBUTION.fetch(lambda line: None)
    assert not DISTRIBUTION.folder.exists()


def test_a_machine_without_java_or_maven_is_told(cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="expected Java 11 or newer"):
        DISTRIBUTION.fetch(lambda line: None)
    with pytest.raises(UserError, match="expected Maven"):
        jars.maven()


def test_an_old_java_is_told(cache, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(cache, monkeypatch, GOOD)
    (cache / "bin" / "java").write_text("#!/bin/sh\necho 'java version \"1.8.0_1\"' >&2\n")
    with pytest.raises(UserError, match="expected Java 11 or newer; got 'java version"):
        jars.java()


def start(tmp_path: pathlib.Path, script: str) -> Program:
    return Program(
        "program",
        ["sh", "-c", script],
        log=tmp_path / "log",
        ready="ready at (.*)",
        environment={},
        folder=tmp_path / "w",
    )


def test_a_program_is_ready_is_stopped_and_its_folder_removed(tmp_path: pathlib.Path) -> None:
    program = start(tmp_path, "touch here; echo one; echo ready at last; exec sleep 600")
    assert program.wait() == "last"
    assert (tmp_path / "w" / "here").exists()
    program.stop()
    assert not program.runs
    assert not (tmp_path / "w").exists()
    assert (tmp_path / "log").read_text() == "one\nready at last\n"
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, 0)


def test_a_program_that_ends_before_it_is_ready_is_quoted(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=r"got its end, with 3; its last words: no lamp"):
        start(tmp_path, "echo no lamp; exit 3").wait()


def test_workers_are_told_from_the_engine_and_from_traces_of_java(tmp_path: pathlib.Path) -> None:
    lines = ["engine 10:00 INFO all well", "java.lang.Exception: x", "\tat org.a.B(C.java:1)", "ImportError: lamp"]
    (tmp_path / "said").write_text("\n".join([*lines, ""]))
    program = start(tmp_path, f"cat {tmp_path / 'said'}; echo ready at once")
    program.wait()
    program.stop()
    assert program.workers_last_words().splitlines() == ["ImportError: lamp", "ready at once"]


def test_a_program_ends_with_the_one_who_holds_it(tmp_path: pathlib.Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    # Its worker does not listen to SIGTERM.
    script = "trap '' TERM; sleep 600 & trap - TERM; echo worker $!; exec sleep 600"
    holder = subprocess.Popen(
        [sys.executable, guard.__file__, str(work), "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    # In either order.
    said = dict(holder.stdout.readline().rsplit(" ", 1) for _ in range(2))
    program, worker = int(said[guard.STARTED.strip()]), int(said["worker"])
    # As the kernel does when a process ends, however it does.
    holder.stdin.close()
    assert holder.wait(60) == 128 + 15
    assert not work.exists()
    for pid in (program, worker):
        assert (
            not pathlib.Path(f"/proc/{pid}").exists() or "Z" in pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2]
        )
