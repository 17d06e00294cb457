"""A version appears whole or not at all, under a number of its own, and servers take what was judged."""

from __future__ import annotations

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import threading
import types

import pytest
import tensorflow as tf

from components import model_digest, push_records, pushed_versions
from components.errors import IntegrityError
from modules import file_sums
from tests.conftest import ROOT

NOW = 1_800_000_000


def write_model(folder: pathlib.Path, weights: bytes = b"weights") -> str:
    files = {"saved_model.pb": b"graph", "variables/variables.data": weights, "assets/titles": b"Heat\n"}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


@pytest.fixture
def model(tmp_path: pathlib.Path) -> str:
    return write_model(tmp_path / "model")


@pytest.fixture
def base(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "serving_model")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    def set_to(seconds: float) -> None:
        monkeypatch.setattr(pushed_versions.time, "time", lambda: seconds)

    set_to(NOW)
    return set_to


def push(model: str, base: str) -> str:
    return pushed_versions.push(model, base, model_digest.of_folder(model))


def shown(base: str) -> list[str]:
    """What `ls` shows, and what README's snippet sees."""
    return sorted(name for name in os.listdir(base) if not name.startswith("."))


def test_a_push_makes_a_version_of_the_same_files(model: str, base: str, clock) -> None:
    version = push(model, base)
    assert version == os.path.join(base, str(NOW))
    assert shown(base) == [str(NOW)]
    assert model_digest.of_folder(version) == model_digest.of_folder(model)
    assert pushed_versions.fault(version, model_digest.of_folder(model)) is None


def test_the_folder_of_versions_is_made_with_those_above_it(model: str, tmp_path: pathlib.Path) -> None:
    base = str(tmp_path / "of" / "somebody" / "serving_model")
    assert os.path.dirname(push(model, base)) == base


def test_versions_are_unique_and_rise(tmp_path: pathlib.Path, base: str, clock) -> None:
    numbers = []
    # Twice within a second, then with the clock set back, then on again.
    for at, weights in ((NOW, b"1"), (NOW, b"2"), (NOW - 5000, b"3"), (NOW + 1, b"4"), (NOW + 60, b"5")):
        clock(at)
        numbers.append(int(os.path.basename(push(write_model(tmp_path / "model", weights), base))))
        assert pathlib.Path(base, str(numbers[-1]), "variables/variables.data").read_bytes() == weights
    assert numbers == [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 60]


@pytest.mark.parametrize(
    ("names", "version"),
    [
        # What is no number, is none to TensorFlow Serving either.
        (["²", "v2000000000", "notes", str(2**63)], NOW),
        (["1999999999"], 2_000_000_000),
    ],
)
def test_a_version_is_above_all_others(model: str, base: str, clock, names: list[str], version: int) -> None:
    for name in names:
        pathlib.Path(base, name).mkdir(parents=True)
    assert os.path.basename(push(model, base)) == str(version)


def test_where_no_version_can_follow_nothing_is_pushed(model: str, base: str) -> None:
    pathlib.Path(base, str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(ValueError, match="the highest that TensorFlow Serving reads; rename it"):
        push(model, base)


def test_what_is_the_newest_already_is_not_pushed_again(model: str, base: str, tmp_path, clock) -> None:
    first = push(model, base)
    clock(NOW + 10)
    assert push(model, base) == first
    other = push(write_model(tmp_path / "other", b"other"), base)
    clock(NOW + 20)
    # Servers take the other one by now.
    again = push(model, base)
    assert [int(os.path.basename(path)) - NOW for path in (first, other, again)] == [0, 10, 20]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_version_is_followed_by_a_whole_one(model: str, base: str, clock, damage: str) -> None:
    expected = model_digest.of_folder(model)
    version = pathlib.Path(push(model, base))
    weights = version / "variables" / "variables.data"
    {"flip": lambda: weights.write_bytes(b"Weights"), "cut": lambda: weights.write_bytes(b""),
     "remove": weights.unlink}[damage]()  # fmt: skip
    assert "was damaged or changed" in pushed_versions.fault(str(version), expected)
    again = push(model, base)
    assert again == os.path.join(base, str(NOW + 1))
    assert pushed_versions.fault(again, expected) is None
    assert "no longer the newest" in pushed_versions.fault(str(version), expected)
    assert "no longer there" in pushed_versions.fault(os.path.join(base, "7"), expected)


@pytest.mark.parametrize(("listed", "damaged"), [(False, False), (True, False), (True, True)])
def test_a_version_is_whole_if_its_files_are_those_that_were_exported(model: str, listed: bool, damaged: bool) -> None:
    if listed:
        file_sums.write(model)
    if damaged:
        pathlib.Path(model, "variables", "variables.data").write_bytes(b"Weights")
    assert pushed_versions.is_whole(model) == (not damaged)
    pathlib.Path(model, "saved_model.pb").unlink()
    assert not pushed_versions.is_whole(model)


def test_what_was_judged_is_recorded_before_servers_see_it(model: str, base: str, monkeypatch) -> None:
    expected, rename, seen = model_digest.of_folder(model), os.rename, []

    def look(source: str, target: str) -> None:
        seen.append(push_records.judged(base, int(os.path.basename(target))))
        rename(source, target)

    monkeypatch.setattr(pushed_versions.os, "rename", look)
    push(model, base)
    assert seen == [expected]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"model_digest": "0"}'])
def test_a_record_that_is_damaged_is_written_again(model: str, base: str, clock, text: str | None) -> None:
    expected, version = model_digest.of_folder(model), push(model, base)
    record = pathlib.Path(push_records.path_of(base, NOW))
    record.unlink() if text is None else record.write_text(text)
    assert f"{record}, is missing or damaged" in pushed_versions.fault(version, expected)
    clock(NOW + 10)
    assert push(model, base) == version
    assert pushed_versions.fault(version, expected) is None


def test_the_record_of_a_version_goes_with_it(tmp_path: pathlib.Path, model: str, base: str, clock) -> None:
    push(model, base)
    push(write_model(tmp_path / "other", b"other"), base)
    pushed_versions.remove(base, [NOW])
    assert list(pushed_versions.versions(base)) == [NOW + 1]
    assert push_records.judged(base, NOW) is None
    assert push_records.judged(base, NOW + 1) is not None


def test_a_model_that_was_not_judged_is_not_pushed(model: str, base: str) -> None:
    expected = model_digest.of_folder(model)
    pathlib.Path(model, "saved_model.pb").write_bytes(b"grap")
    with pytest.raises(IntegrityError, match=r"expected in .*model the files that were judged"):
        pushed_versions.push(model, base, expected)
    assert os.listdir(base) == []


def test_a_copy_that_went_wrong_is_not_shown(model: str, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy_badly(source, target) -> None:
        target.write(source.read()[:-1])

    monkeypatch.setattr(pushed_versions.shutil, "copyfileobj", copy_badly)
    with pytest.raises(IntegrityError, match=r"expected in .*\.pushing-\d+ the files that were judged"):
        push(model, base)
    assert os.listdir(base) == []


def test_a_full_disk_leaves_nothing(model: str, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pushed_versions.os, "fsync", fill)
    with pytest.raises(OSError, match="No space left"):
        push(model, base)
    assert os.listdir(base) == []


def test_all_of_it_is_on_the_disk_before_it_is_shown(model: str, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def flushed(descriptor: int) -> None:
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def renamed(source: str, target: str) -> None:
        events.append("rename")
        rename(source, target)

    monkeypatch.setattr(pushed_versions.os, "fsync", flushed)
    monkeypatch.setattr(pushed_versions.os, "rename", renamed)
    version = push(model, base)
    partial = os.path.join(base, f".pushing-{os.path.basename(version)}")
    files = {os.path.join(partial, name) for name in file_sums.files_below(version)}
    folders = {partial, os.path.join(partial, "assets"), os.path.join(partial, "variables")}
    place = events.index("rename")
    assert files | folders <= set(events[:place])
    # What was judged is on the disk, too.
    record = pathlib.Path(push_records.path_of(base, int(os.path.basename(version))))
    assert str(record.parent) in events[:place]
    assert events[place + 1 :] == [base]


PUSH = """
import os, signal, sys
from components import model_digest, pushed_versions
source, base, at = sys.argv[1:]
calls = 0
def call(original):
    def counted(*arguments, **options):
        global calls
        calls += 1
        if calls == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    return counted
steps = (os, "fsync"), (os, "rename"), (pushed_versions, "_remove"), (pushed_versions.shutil, "copyfileobj")
for owner, name in steps:
    setattr(owner, name, call(getattr(owner, name)))
pushed_versions.push(source, base, model_digest.of_folder(source))
print(calls)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_no_half_version(model: str, tmp_path: pathlib.Path) -> None:
    """Killed before each step in turn; servers see the old version or the new one, and the next push clears up."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    old = write_model(tmp_path / "old", b"old")
    whole = {model_digest.of_folder(old), model_digest.of_folder(model)}
    # The push has 14 such steps; the last process is not killed.
    for at in (1, 3, 6, 9, 11, 12, 13, 14, 15):
        base = str(tmp_path / f"serving-{at}")
        push(old, base)
        done = subprocess.run(
            [sys.executable, "-c", PUSH, model, base, str(at)], env=environment, check=False, capture_output=True
        )
        assert done.returncode == (0 if at == 15 else -signal.SIGKILL), done.stderr
        assert {model_digest.of_folder(path) for path in pushed_versions.versions(base).values()} <= whole
        assert shown(base) == sorted(map(str, pushed_versions.versions(base)))
        push(model, base)
        assert model_digest.of_folder(pushed_versions.newest(base)) == model_digest.of_folder(model)
        assert sorted(os.listdir(base)) == shown(base)
        assert len(shown(base)) == 2
        records = os.listdir(os.path.dirname(push_records.path_of(base, 1)))
        assert sorted(name for name in records if name.endswith(".json")) == [f"{each}.json" for each in shown(base)]


def test_what_a_killed_push_left_is_removed_and_told(model: str, base: str, caplog: pytest.LogCaptureFixture) -> None:
    write_model(pathlib.Path(base, ".pushing-17"))
    push(model, base)
    assert not os.path.exists(os.path.join(base, ".pushing-17"))
    assert [record.getMessage() for record in caplog.records if record.name == "movie_ranking.notes"] == [
        f"removed {base}/.pushing-17, which a push had left that was interrupted"
    ]


def test_a_push_waits_for_another(model: str, base: str) -> None:
    os.makedirs(base)
    with open(os.path.join(os.path.dirname(base), ".serving_model.lock"), "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = threading.Thread(target=push, args=(model, base))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert shown(base) == []
    waiting.join(60)
    assert len(shown(base)) == 1


def test_pushes_at_once_lose_no_model(tmp_path: pathlib.Path, base: str) -> None:
    models = [write_model(tmp_path / f"model-{number}", bytes([number])) for number in range(5)]
    threads = [threading.Thread(target=push, args=(each, base)) for each in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {model_digest.of_folder(path) for path in pushed_versions.versions(base).values()} == {
        model_digest.of_folder(each) for each in models
    }


class TestStoreOfObjects:
    """TensorFlow's file system in memory stands for one whose folders cannot be renamed."""

    @pytest.fixture
    def base(self, request: pytest.FixtureRequest) -> str:
        return f"ram://versions/{request.node.name}"

    def test_a_push_makes_a_version_of_the_same_files(self, model: str, base: str, clock) -> None:
        expected = model_digest.of_folder(model)
        version = push(model, base)
        assert version == f"{base}/{NOW}"
        assert pushed_versions.fault(version, expected) is None
        assert push(model, base) == version
        assert tf.io.gfile.listdir(base) == [str(NOW)]

    def test_the_file_that_makes_it_a_model_comes_last(self, model: str, base: str, monkeypatch) -> None:
        renamed = []
        rename = tf.io.gfile.rename
        monkeypatch.setattr(
            tf.io.gfile, "rename", lambda source, target: (renamed.append(target), rename(source, target))
        )
        version = push(model, base)
        assert len(renamed) == 3
        assert renamed[-1] == f"{version}/saved_model.pb"

    def test_a_version_that_others_wrote_to_is_taken_back(self, model: str, base: str, monkeypatch) -> None:
        publish = pushed_versions._publish

        def publish_and_mix(partial: str, version: str) -> None:
            publish(partial, version)
            with tf.io.gfile.GFile(f"{version}/assets/titles", "w") as file:
                file.write("Alien\n")

        monkeypatch.setattr(pushed_versions, "_publish", publish_and_mix)
        with pytest.raises(IntegrityError, match="the files that were judged"):
            push(model, base)
        assert pushed_versions.versions(base) == {}

    def test_what_a_killed_push_left_is_removed_once_it_is_old(self, model: str, base: str, clock, monkeypatch) -> None:
        for path in (f"{base}/.pushing-{NOW}/saved_model.pb", f"{base}/{NOW}/assets/titles"):
            tf.io.gfile.makedirs(path.rpartition("/")[0])
            with tf.io.gfile.GFile(path, "w") as file:
                file.write("part")
        # What is in memory has no time of its own.
        monkeypatch.setattr(tf.io.gfile, "stat", lambda path: types.SimpleNamespace(mtime_nsec=NOW * 10**9))
        clock(NOW + 3599)
        first = push(model, base)
        assert os.path.basename(first) == str(NOW + 3599)
        assert f".pushing-{NOW}" in [name.rstrip("/") for name in tf.io.gfile.listdir(base)]
        clock(NOW + 3601)
        assert push(model, base) == first
        assert tf.io.gfile.listdir(base) == [str(NOW + 3599)]
