from __future__ import annotations

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
from tests.data.small_releases import HUNDRED_K, HUNDRED_K_CSV, OWN_NAMES


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
    prepare(source, tmp_path / "out", split="u1")
    assert names(tmp_path / "out") == ["ratings.json", "test", "test/ratings.csv", "train", "train/ratings.csv"]
    prepare(source, tmp_path / "out")
    assert names(tmp_path / "out") == ["ratings.csv", "ratings.json"]
    prepare(source, tmp_path / "out", split="u1")
    assert names(tmp_path / "out") == ["ratings.json", "test", "test/ratings.csv", "train", "train/ratings.csv"]


def test_the_source_is_not_overwritten(make_folder, tmp_path):
    text = OWN_NAMES + "1,A,3\n1,B,4\n"
    (tmp_path / "ratings.csv").write_text(text)
    for source in (tmp_path, tmp_path / "ratings.csv"):
        with pytest.raises(DataError, match="other than the source"):
            prepare(source, tmp_path)
    assert (tmp_path / "ratings.csv").read_text() == text
    assert names(tmp_path) == ["ratings.csv"]


@pytest.mark.parametrize("other", ["mine.csv", "train/ratings.csv", "eval/more.csv"])
def test_csv_files_of_others_are_not_mixed_with_ours(other, make_folder, tmp_path):
    folder = tmp_path / "out"
    (folder / other).parent.mkdir(parents=True, exist_ok=True)
    (folder / other).write_text("x")
    for make in (
        lambda: prepare(make_folder(HUNDRED_K), folder),
        lambda: synthetic.write(folder, rows=10, say=lambda line: None),
    ):
        with pytest.raises(DataError, match=f"no CSV in .*{other}; move it away"):
            make()
    assert [name for name in names(folder) if "." in name] == [other]


def test_a_wrong_result_leaves_the_right_one_in_place(make_folder, tmp_path):
    source = make_folder(HUNDRED_K)
    right = prepare(source, tmp_path / "out")
    (source / "u.data").write_bytes(HUNDRED_K["u.data"].replace(b"\t4\t10", b"\t3\t10"))
    with pytest.raises(ChecksumError, match=f"SHA-256 {right.sidecar.sha256} from .*; got [0-9a-f]{{64}}; see that"):
        prepare(source, tmp_path / "out", sha256=right.sidecar.sha256)
    assert (tmp_path / "out/ratings.csv").read_text(encoding="utf-8") == HUNDRED_K_CSV
    assert Sidecar.read(tmp_path / "out").matches(tmp_path / "out")
    assert names(tmp_path / "out") == ["ratings.csv", "ratings.json"]


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
