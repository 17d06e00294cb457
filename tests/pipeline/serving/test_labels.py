"""Labels of versions, and which users get the canary."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.errors import UserError
from pipeline.serving.labels import LABELS_FILE, MOST_REMEMBERED, Labels
from tests.conftest import ROOT

USERS = [str(number) for number in range(20_000)]
SHARES = st.floats(0.0, 1.0)


def canary(share: float, version: int = 2) -> Labels:
    return Labels(labels={"stable": 1, "canary": version}, canary_share=share)


def group(labels: Labels) -> set[str]:
    """The users who get the canary."""
    return {user for user in USERS if labels.version_for(user) == labels.labels["canary"]}


def test_without_labels_everybody_gets_the_newest(tmp_path: pathlib.Path) -> None:
    labels = Labels.read(tmp_path)
    assert labels == Labels()
    assert {labels.version_for(user) for user in (None, "90", "")} == {None}
    assert Labels(labels={"last-week": 1}).version_for("90") is None


def test_labels_are_read_as_they_were_written(tmp_path: pathlib.Path) -> None:
    labels = Labels(labels={"stable": 1_700_000_000, "canary": 1_700_000_100}, canary_share=0.25, history=(7, 8))
    labels.write(tmp_path)
    assert Labels.read(str(tmp_path)) == labels
    assert os.listdir(tmp_path) == [LABELS_FILE]
    assert json.loads((tmp_path / LABELS_FILE).read_text()) == {
        "labels": {"stable": 1_700_000_000, "canary": 1_700_000_100},
        "canary_share": 0.25,
        "history": [7, 8],
    }


def test_a_file_of_labels_and_a_share_alone_is_enough(tmp_path: pathlib.Path) -> None:
    (tmp_path / LABELS_FILE).write_text('{"labels": {"stable": 3}, "canary_share": 0.5}')
    assert Labels.read(tmp_path) == Labels(labels={"stable": 3}, canary_share=0.5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is damaged"),
        (b'{"labels": {"stable": 1', "it is damaged"),
        (b'{"labels": {"stable": \xff}}', "can't decode byte 0xff"),
        (b"[" * 100_000, "it is damaged"),
        (b"[1]", "expected labels, canary_share and history by name; got [1]"),
        (b'{"lables": {}}', "expected labels, canary_share and history; got lables"),
        (b'{"labels": [1]}', "expected versions by label"),
        (
            b'{"labels": {"stable": "1"}}',
            "expected a version from 0 to 9223372036854775807 under label 'stable'; got '1'",
        ),
        (b'{"labels": {"stable": true}}', "under label 'stable'; got True"),
        (b'{"labels": {"stable": 1.0}}', "under label 'stable'; got 1.0"),
        (b'{"labels": {"stable": 9223372036854775808}}', "got 9223372036854775808"),
        (b'{"labels": {"a/b": 1}}', "expected a label of up to 64 letters, digits, dots"),
        (b'{"labels": {"canary": 1}}', "expected a stable version beside the canary, 1"),
        (b'{"canary_share": 1.5}', "expected a share of the users from 0 to 1 for the canary; got 1.5"),
        (b'{"canary_share": NaN}', "for the canary; got nan"),
        (b'{"canary_share": "0.1"}', "for the canary; got '0.1'"),
        (b'{"history": [-1]}', "in the history; got -1"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path: pathlib.Path, content: bytes, said: str) -> None:
    file = tmp_path / LABELS_FILE
    file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        Labels.read(tmp_path)
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"expected labels in {file}; ")


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_canary_gets_its_share_of_the_users(share: float) -> None:
    # Four standard deviations of a binomial share.
    allowed = 4 * (share * (1 - share) / len(USERS)) ** 0.5
    assert len(group(canary(share))) / len(USERS) == pytest.approx(share, abs=allowed)


def test_the_users_of_a_canary_are_those_of_a_hash_that_anybody_can_compute() -> None:
    digests = {user: hashlib.blake2b(user.encode(), digest_size=8, key=b"2").hexdigest() for user in USERS}
    assert group(canary(1 / 16)) == {user for user, digest in digests.items() if digest.startswith("0")}


@given(user=st.text(), shares=st.tuples(SHARES, SHARES).map(sorted), version=st.integers(0, 2**63 - 1))
def test_who_has_the_canary_keeps_it_when_the_share_grows(user: str, shares: list[float], version: int) -> None:
    smaller, larger = (canary(share, version).version_for(user) == version for share in shares)
    assert larger or not smaller or version == 1
    assert canary(0.0, version).version_for(user) == 1
    assert canary(1.0, version).version_for(user) == version
    assert canary(1.0, version).version_for(None) == 1


def test_another_canary_has_other_users() -> None:
    first, second = group(canary(0.1)), group(canary(0.1, version=3))
    # By chance a tenth of them.
    assert len(first & second) < 0.2 * len(first)


def test_a_user_has_one_version_in_any_spelling() -> None:
    labels = canary(0.5)
    assert labels.version_for("Zoe\u0308 ") == labels.version_for("Zoë")


def test_a_user_has_the_same_version_in_every_process_and_nothing_heavy_is_imported() -> None:
    script = (
        "import sys\nfrom pipeline.serving.labels import Labels\n"
        "labels = Labels(labels={'stable': 1, 'canary': 2}, canary_share=0.3)\n"
        "print(*(labels.version_for(str(user)) for user in range(500)))\n"
        "print({'tensorflow', 'tfx', 'apache_beam', 'numpy'} & set(sys.modules))\n"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        versions, heavy = done.stdout.splitlines()
        assert versions.split() == [str(canary(0.3).version_for(str(user))) for user in range(500)]
        assert heavy == "set()"


def test_what_was_promoted_is_rolled_back_step_by_step() -> None:
    known = [1, 2, 3]
    labels = Labels().promoted(1, known).promoted(2, known)
    labels = labels.labelled("canary", 3, known, share=0.2)
    assert (labels.labels, labels.canary_share) == ({"stable": 2, "canary": 3}, 0.2)
    labels = labels.promoted(3, known)
    assert (labels.labels, labels.history) == ({"stable": 3}, (1, 2))
    # The same once more changes nothing.
    assert labels.promoted(3, known) == labels
    labels = labels.rolled_back(known)
    assert (labels.labels, labels.history) == ({"stable": 2}, (1,))
    labels = labels.rolled_back(known)
    assert (labels.labels, labels.history) == ({"stable": 1}, ())
    with pytest.raises(UserError, match="expected a version that was stable before 1, and is still there; got none"):
        labels.rolled_back(known)


def test_a_roll_back_passes_over_versions_that_are_gone() -> None:
    labels = Labels(labels={"stable": 4}, history=(1, 2, 3))
    assert labels.rolled_back([1, 2, 4]).labels == {"stable": 2}
    with pytest.raises(UserError, match="got none"):
        labels.rolled_back([4])


def test_the_history_is_bounded() -> None:
    labels, known = Labels(), range(100)
    for version in known:
        labels = labels.promoted(version, known)
    assert labels.history == tuple(range(99 - MOST_REMEMBERED, 99))


def test_a_label_is_taken_away() -> None:
    labels = Labels(labels={"stable": 1, "canary": 2, "old": 1})
    assert labels.of_version(1) == ["old", "stable"]
    assert labels.unlabelled("canary").labels == {"stable": 1, "old": 1}
    with pytest.raises(UserError, match="expected a label that a version has: stable, canary, old; got 'new'"):
        labels.unlabelled("new")
    with pytest.raises(UserError, match="expected a stable version beside the canary, 2"):
        labels.unlabelled("stable")
    without = labels.unlabelled("canary").unlabelled("stable")
    assert without.version_for("90") is None
    assert without.rolled_back([1, 2]).labels["stable"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: labels.promoted(9, [1, 2]), "expected one of the versions that can be served: 1, 2; got 9"),
        (
            lambda labels: labels.labelled("canary", 9, []),
            "expected one of the versions that can be served: none; got 9",
        ),
        (lambda labels: labels.labelled("old", 1, [1], share=0.1), "expected a share for the label canary"),
        (lambda labels: labels.labelled("canary", 1, [1], share=-0.1), "from 0 to 1 for the canary; got -0.1"),
        (lambda labels: labels.labelled("stable", 1, [1]), "give it with `movie-ranking versions promote`"),
        (lambda labels: labels.labelled("a b", 1, [1]), "got 'a b'"),
        (lambda labels: Labels().labelled("canary", 1, [1]), "expected a stable version beside the canary, 1"),
    ],
)
def test_what_cannot_be_labelled_is_refused(change, said: str) -> None:
    with pytest.raises(UserError) as raised:
        change(Labels(labels={"stable": 1}))
    assert said in str(raised.value)


def test_readers_see_old_or_new_labels_while_they_change(tmp_path: pathlib.Path) -> None:
    sides = [Labels(labels={"stable": version}, history=(version,) * MOST_REMEMBERED) for version in (1, 2**62)]
    sides[0].write(tmp_path)
    done = threading.Event()

    def change() -> None:
        for turn in range(200):
            sides[turn % 2].write(tmp_path)
        done.set()

    writer = threading.Thread(target=change)
    writer.start()
    reads = 0
    while not done.is_set():
        assert Labels.read(tmp_path) in sides
        reads += 1
    writer.join()
    assert reads > 10
