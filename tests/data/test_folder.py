from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from data import synthetic
from data.errors import ChecksumError, DataError
from data.folder import workspace
from data.prepare import prepare
from data.sidecar import Sidecar
from tests.data.small_releases import HUNDRED_K, HUNDRED_K_TABLES, OWN_NAMES, tables_in


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_workspace_leaves_nothing(tmp_path):
    with workspace(tmp_path / "a" / "b") as work:
        assert work.parent == tmp_path / "a" / "b"
        (work / "file").write_text("x")
    assert not (tmp_path / "a" / "b").exists()
    with pytest.raises(KeyError), workspace(tmp_path):
        raise KeyError
    assert names(tmp_path) == ["a"]


def test_workspace_clears_up_after_the_dead_alone(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getpid()):
        (tmp_path / f".partial-{process}-x").mkdir()
    (tmp_path / ".partial-mine").mkdir()
    with workspace(tmp_path):
        pass
    assert names(tmp_path) == [f".partial-{os.getpid()}-x", ".partial-mine"]


def test_a_new_layout_replaces_the_old_one(make_folder, tmp_path):
    source = make_folder(HUNDRED_K)
    own = tmp_path / "own.csv"
    own.write_text(OWN_NAMES + "1,A,3\n1,B,4\n")
    side = ["titles.csv", "users.csv"]
    split = ["ratings.json", "test", "test/ratings.csv", *side[:1], "train", "train/ratings.csv", *side[1:]]
    prepare(source, tmp_path / "out", split="u1")
    assert names(tmp_path / "out") == split
    prepare(source, tmp_path / "out")
    assert names(tmp_path / "out") == ["ratings.csv", "ratings.json", *side]
    prepare(source, tmp_path / "out", split="u1")
    assert names(tmp_path / "out") == split
    prepare(own, tmp_path / "out")
    assert names(tmp_path / "out") == ["ratings.csv", "ratings.json"]


def test_a_move_that_fails_leaves_no_record(make_folder, tmp_path, monkeypatch):
    """The old record would say what is not there any more."""
    prepare(make_folder(HUNDRED_K), tmp_path / "out")

    def full(self, folder):
        raise OSError("No space left on device")

    monkeypatch.setattr(Sidecar, "write", full)
    with pytest.raises(OSError, match="No space"):
        synthetic.write(tmp_path / "out", rows=10, say=lambda line: None)
    assert names(tmp_path / "out") == ["ratings.csv"]


def test_the_source_is_not_overwritten(make_folder, tmp_path):
    text = OWN_NAMES + "1,A,3\n1,B,4\n"
    (tmp_path / "ratings.csv").write_text(text)
    for source in (tmp_path, tmp_path / "ratings.csv"):
        with pytest.raises(DataError, match="other than the source"):
            prepare(source, tmp_path)
    assert (tmp_path / "ratings.csv").read_text() == text
    assert names(tmp_path) == ["ratings.csv"]


def test_a_source_among_the_tables_of_an_earlier_run_is_not_removed(make_folder, tmp_path):
    prepare(make_folder(HUNDRED_K), tmp_path / "out", split="u1")
    before = tables_in(tmp_path / "out")
    with pytest.raises(DataError, match="other than the source"):
        prepare(tmp_path / "out" / "train", tmp_path / "out")
    assert tables_in(tmp_path / "out") == before


@pytest.mark.parametrize("other", ["ratings-2.csv", "titles.csv", "train/ratings.csv", "eval/ratings-more.csv"])
def test_tables_of_others_are_not_mixed_with_ours(other, tmp_path):
    folder = tmp_path / "out"
    (folder / other).parent.mkdir(parents=True, exist_ok=True)
    (folder / other).write_text("x")
    own = tmp_path / "own.csv"
    own.write_text(OWN_NAMES + "1,A,3\n1,B,4\n")
    for make in (
        lambda: prepare(own, folder),
        lambda: synthetic.write(folder, rows=10, say=lambda line: None),
    ):
        with pytest.raises(DataError, match=f"no tables in .*{other}; move it away"):
            make()
    assert [name for name in names(folder) if "." in name] == [other]


def test_files_that_nobody_reads_as_tables_are_left_alone(make_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.csv").write_text("x")
    summary = prepare(make_folder(HUNDRED_K), tmp_path / "out")
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES | {"mine.csv": "x"}
    assert summary.sidecar.matches(tmp_path / "out")


def test_a_wrong_result_leaves_the_right_one_in_place(make_folder, tmp_path):
    source = make_folder(HUNDRED_K)
    right = prepare(source, tmp_path / "out")
    (source / "u.data").write_bytes(HUNDRED_K["u.data"].replace(b"\t4\t10", b"\t3\t10"))
    checksums = right.sidecar.checksums
    with pytest.raises(ChecksumError, match=f"ratings.csv {checksums['ratings.csv']}, .*; got .*; see that"):
        prepare(source, tmp_path / "out", checksums=checksums)
    assert tables_in(tmp_path / "out") == HUNDRED_K_TABLES
    assert Sidecar.read(tmp_path / "out").matches(tmp_path / "out")


@pytest.mark.slow
def test_a_killed_run_leaves_no_ratings_and_the_next_one_finishes(tmp_path):
    code = "import sys; from data import synthetic; synthetic.write(sys.argv[1], rows=1_000_000)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")])
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob(".partial-*/ratings.csv")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = names(tmp_path / "out")
    assert "ratings.csv" not in left
    assert "ratings.json" not in left
    assert any(name.startswith(".partial-") for name in left)
    synthetic.write(tmp_path / "out", rows=1000, say=lambda line: None)
    assert names(tmp_path / "out") == ["ratings.csv", "ratings.json"]


@pytest.mark.parametrize("named", [None, "/elsewhere"])
def test_a_full_disk_says_where(named, tmp_path):
    with pytest.raises(OSError, match="No space left") as raised, workspace(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device", named)
    assert raised.value.filename == (named or str(tmp_path / "out"))
    assert names(tmp_path) == []
