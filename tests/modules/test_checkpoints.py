"""States of long computations: complete or absent, and of one computation alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules import checkpoints
from modules.checkpoints import Checkpoint, fingerprint

STATE = {"a": np.arange(6.0).reshape(2, 3), "b/c": np.array(7)}


def test_a_state_comes_back_as_it_was(tmp_path) -> None:
    folder = str(tmp_path / "[1]" / "chain")
    assert Checkpoint(folder).load() is None
    checkpoint = Checkpoint(folder)
    checkpoint.save({"a": np.zeros(3)})
    checkpoint.save(STATE)
    found = Checkpoint(folder).load()
    assert found is not None
    assert found.keys() == STATE.keys()
    for name, array in STATE.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_state_is_due_a_minute_after_the_last(tmp_path, monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    checkpoint, without = Checkpoint(str(tmp_path)), Checkpoint(None)
    for later, due in ((0.0, False), (59.0, False), (1.0, True)):
        now += later
        assert checkpoint.is_due() == due
        assert not without.is_due()
    checkpoint.save(STATE)
    assert not checkpoint.is_due()
    now += 60
    assert checkpoint.is_due()


def test_a_state_that_would_run_code_is_not_loaded(tmp_path) -> None:
    """As an array of Python's objects could, when it is read."""
    np.savez(tmp_path / "state.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Checkpoint(str(tmp_path)).load()


def test_without_a_folder_nothing_is_kept() -> None:
    assert Checkpoint(None).load() is None
    with pytest.raises(ValueError, match="expected a folder"):
        Checkpoint(None).save(STATE)


def test_a_write_that_fails_leaves_the_state_before(tmp_path, monkeypatch) -> None:
    checkpoint = Checkpoint(str(tmp_path))
    checkpoint.save(STATE)

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    # Half of the copy has been written by then, for all that anybody knows.
    (tmp_path / "unfinished.npz").write_bytes(b"PK")
    monkeypatch.setattr(tf.io.gfile, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save({"a": np.zeros(3)})
    monkeypatch.undo()
    found = checkpoint.load()
    assert found is not None
    np.testing.assert_array_equal(found["a"], STATE["a"])
    checkpoint.save({"a": np.zeros(3)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.npz"]


def test_computations_are_told_apart_by_all_that_goes_in(monkeypatch) -> None:
    parts = [np.arange(3), np.arange(3.0), "seed 1", "seed 2", np.arange(4)[1:], np.arange(6)[::2]]
    names = [fingerprint("x", part) for part in parts]
    assert len({*names, fingerprint("x")}) == len(parts) + 1
    assert names == [fingerprint("x", part) for part in parts]
    monkeypatch.setattr(tf.version, "VERSION", "0.0")
    assert fingerprint("x", parts[0]) != names[0]


def test_other_code_carries_out_another_computation(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "__file__", str(tmp_path / "checkpoints.py"))
    (tmp_path / "sampler.py").write_text("alpha = 1")
    before = fingerprint("x")
    (tmp_path / "notes.txt").write_text("no code")
    assert fingerprint("x") == before
    (tmp_path / "sampler.py").write_text("alpha = 2")
    assert fingerprint("x") != before
