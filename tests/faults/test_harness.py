"""The harness' own parts: what is drawn, disks, servers, comparisons, and how it ends."""

from __future__ import annotations

import http.client
import pathlib
import random
import urllib.request

import pytest
from click.testing import CliRunner

from data.fetch import fetch
from data.prepare import prepare
from data.sidecar import Sidecar
from tests.faults import cutting_server, full_disk, harness
from tests.faults.verdicts import Failure, Result, Verdict
from tests.faults.workshop import Tree, write_release


def test_a_seed_and_a_number_give_the_same_case() -> None:
    first, second = ([(kind, rng.random()) for kind, rng in map(drawn_of, range(50))] for drawn_of in [seeded(1)] * 2)
    assert first == second
    assert len(set(first)) == 50
    assert first != [(kind, rng.random()) for kind, rng in map(seeded(2), range(50))]
    assert {harness.drawn(1, case)[0] for case in range(300)} == set(harness.KINDS)
    some = ("kill-run", "damage-data")
    assert {harness.drawn(1, case, some)[0] for case in range(50)} == set(some)


def seeded(seed: int):
    return lambda case: harness.drawn(seed, case)


def test_a_disk_is_full_until_there_is_room(tmp_path: pathlib.Path) -> None:
    if not full_disk.may_mount():
        pytest.skip("this process may not mount a file system")
    with full_disk.mounted(tmp_path / "disk", 1 << 16) as disk:
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "file").write_bytes(bytes(1 << 17))
        disk.make_room()
        (disk.folder / "file").write_bytes(bytes(1 << 17))
        assert full_disk.pages(disk.folder) == 1 << 17
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize("says_length", [True, False])
def test_the_server_breaks_off_as_often_as_it_is_told(says_length: bool) -> None:
    content = random.Random(0).randbytes(5_000)
    with cutting_server.serving(content, [1_000, 0], says_length=says_length) as url:
        got = []
        for _ in range(4):
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    got.append(answer.read())
            except http.client.IncompleteRead as error:
                assert says_length
                got.append(error.partial)
    assert got == [content[:1_000], b"", content, content]


def test_folders_are_compared_to_the_byte(tmp_path: pathlib.Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_text("a")
    tree = Tree(tmp_path / "one", seconds=1.0)
    assert tree.differs_from(tmp_path / "other") == ""
    (tmp_path / "other" / "below" / "file").write_text("b")
    assert tree.differs_from(tmp_path / "other") == "below/file not the same"
    (tmp_path / "other" / ".left").write_text("")
    assert tree.differs_from(tmp_path / "other") == ".left in one folder alone"


def test_the_made_up_release_is_read_as_movielens_100k(tmp_path: pathlib.Path) -> None:
    write_release(tmp_path / "ml-100k", rows=500, users=40, titles=50)
    summary = prepare(tmp_path / "ml-100k", tmp_path / "prepared")
    assert (summary.sidecar.rows, summary.sidecar.rejected, summary.sidecar.users) == (500, 0, 40)
    checksums = Sidecar.read(tmp_path / "prepared").checksums
    fetched = fetch(tmp_path / "fetched", source=tmp_path / "ml-100k", checksums=checksums, say=lambda _: None)
    assert fetched.sidecar.checksums == checksums


def test_failures_are_listed_kept_and_told_by_the_exit_code(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(workshop, rng):
        (workshop.data.parent / "left").write_text("x")
        raise Failure("it broke")

    def good(workshop, rng):
        return Result(Verdict.WHOLE, "it held")

    monkeypatch.setattr(harness, "KINDS", {"bad": (bad, 1), "good": (good, 1)})
    done = CliRunner().invoke(harness.main, ["--cases", "6", "--seed", "1", "--folder", str(tmp_path)])
    assert done.exit_code == 1
    kinds = [harness.drawn(1, case)[0] for case in range(6)]
    assert set(kinds) == {"bad", "good"}
    rows = {
        cells[1]: cells[2:-1]
        for line in done.output.splitlines()
        if (cells := [c.strip() for c in line.split("│")])[0] == "" and len(cells) > 3
    }
    assert rows["bad"] == [str(kinds.count("bad")), "0", "0", "0", str(kinds.count("bad"))]
    assert rows["good"] == [str(kinds.count("good"))] * 2 + ["0", "0", "0"]
    kept = tmp_path / "failed" / f"1-{kinds.index('bad')}-bad"
    assert (kept / "left").read_text() == "x"
    assert f"--seed 1 --case {kinds.index('bad')}: bad: it broke; kept in {kept}" in done.output
    again = CliRunner().invoke(
        harness.main, ["--seed", "1", "--case", str(kinds.index("good")), "--folder", str(tmp_path)]
    )
    assert again.exit_code == 0
