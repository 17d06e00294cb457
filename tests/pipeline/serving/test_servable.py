"""The probe and the validator on models that are servable and on ones that are not."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from components import probe_process
from components.errors import ProbeError
from pipeline.serving import servable_probe

USERS, TITLES, UNRATED = ["1", "2"], ["A", "B", "C"], "D"


class Servable(tf.Module):
    """A hand-made export in the shape of the serving contract; each fault breaks one promise."""

    def __init__(self, folder: pathlib.Path, fault: str = ""):
        super().__init__()
        self.fault = fault
        self.tables = []
        for name, words in (("user_id", USERS), ("movie_title", TITLES)):
            path = folder / name
            path.write_text("".join(f"{word}\n" for word in words))
            initializer = tf.lookup.TextFileInitializer(
                str(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.tables.append(tf.lookup.StaticHashTable(initializer, default_value=9))

    def rate(self, user: tf.Tensor, title: tf.Tensor, batched: bool = True) -> tf.Tensor:
        rating = 1.0 + tf.cast(self.tables[0].lookup(user) + self.tables[1].lookup(title), tf.float32) / 9.0
        unknown = tf.equal(self.tables[0].lookup(user), 9)
        if self.fault == "nan for what nobody rated":
            rating = tf.where(title == UNRATED, float("nan"), rating)
        if self.fault == "nan for unknown users":
            rating = tf.where(unknown, float("nan"), rating)
        if self.fault == "off the scale":
            rating += 3.0
        if self.fault == "error for unknown users":
            with tf.control_dependencies([tf.debugging.assert_equal(unknown, tf.zeros_like(unknown))]):
                rating = tf.identity(rating)
        if self.fault == "depends on the batch":
            rating += tf.cast(tf.size(user), tf.float32) / 100.0
        return rating if self.fault == "no last axis" else rating[:, None]

    @tf.function(input_signature=[{n: tf.TensorSpec([None], tf.string) for n in ("user_id", "movie_title")}])
    def __call__(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.rate(inputs["user_id"], inputs["movie_title"])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, n) for n in ("user_id", "movie_title")])
    def predict(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"predicted_rating": self.rate(user_id, movie_title)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("user_id", "movie_title")}
        parsed = tf.io.parse_example(examples, spec)
        skew = 0.5 if self.fault == "signatures differ" else 0.0
        return {"predicted_rating": tf.minimum(self.rate(parsed["user_id"], parsed["movie_title"]) + skew, 5.0)}

    @tf.function(
        input_signature=[tf.TensorSpec([n], tf.string, name) for n, name in ((1, "user_id"), (None, "movie_title"))]
    )
    def rank(self, user_id: tf.Tensor, movie_title: tf.Tensor) -> dict[str, tf.Tensor]:
        rating = tf.reshape(self.rate(tf.repeat(user_id, tf.size(movie_title)), movie_title), [-1])
        order = tf.argsort(rating, direction="ASCENDING" if self.fault == "worst first" else "DESCENDING")
        if self.fault == "loses a title":
            order = order[1:]
        return {"movie_title": tf.gather(movie_title, order), "predicted_rating": tf.gather(rating, order)}

    def save(self, path: pathlib.Path) -> str:
        signatures = {"serving_default": self.serve, "predict": self.predict, "rank": self.rank}
        if self.fault == "no rank":
            del signatures["rank"]
        tf.saved_model.save(self, str(path), signatures=signatures)
        (path / "assets" / "unrated_movie_title").write_text(f"{UNRATED}\n")
        return str(path)


def test_a_servable_model_has_no_failures(tmp_path: pathlib.Path) -> None:
    assert servable_probe.probe(Servable(tmp_path).save(tmp_path / "model"), 1.0, 5.0) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nan for unknown users", "expected finite ratings"),
        ("nan for what nobody rated", "expected finite ratings"),
        ("off the scale", "expected ratings in [1.0, 5.0]"),
        ("error for unknown users", "the loaded object failed"),
        ("no last axis", "expected float32 [15, 1]"),
        ("signatures differ", "serving_default and the loaded object differ by up to 0.5"),
        ("depends on the batch", "a batch of one gives"),
        ("worst first", "best first"),
        ("loses a title", "rank: expected the 5 titles it was given"),
        ("no rank", "missing: rank"),
    ],
)
def test_each_broken_promise_is_found(tmp_path: pathlib.Path, fault: str, said: str) -> None:
    failures = servable_probe.probe(Servable(tmp_path, fault).save(tmp_path / "model"), 1.0, 5.0)
    assert any(said in failure for failure in failures), failures


def test_what_is_no_model_does_not_load(tmp_path: pathlib.Path) -> None:
    (failure,) = servable_probe.probe(str(tmp_path), 1.0, 5.0)
    assert failure.startswith("the model does not load")


@pytest.mark.slow
def test_a_fresh_process_tells_good_from_bad(tmp_path: pathlib.Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, fault in ((good, ""), (bad, "worst first")):
        folder.mkdir()
        Servable(folder, fault).save(folder / "model")
    probe_process.start_ahead()
    probe_process.start_ahead()
    assert probe_process.probe(str(good / "model"), 1.0, 5.0) == []
    (failure,) = probe_process.probe(str(bad / "model"), 1.0, 5.0)
    assert "best first" in failure


@pytest.fixture
def started(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where the processes that would probe write a line each, before they fail."""
    broken, log = tmp_path / "python", tmp_path / "started"
    broken.write_text(f"#!/bin/sh\necho $$ >>{log}\nread request\necho out of memory >&2\nexit 137\n")
    broken.chmod(0o755)
    monkeypatch.setattr(probe_process.sys, "executable", str(broken))
    return log


@pytest.mark.parametrize("ahead", [False, True])
def test_a_process_that_fails_is_no_verdict(started: pathlib.Path, ahead: bool) -> None:
    if ahead:
        probe_process.start_ahead()
    with pytest.raises(ProbeError, match=r"ended with 137, and wrote: out of memory; the same command asks it again"):
        probe_process.probe("nowhere", 1.0, 5.0)
    assert len(started.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("kill -KILL $$", r"was ended by SIGKILL \(out of memory, perhaps\); the same command asks it again"),
        ("kill -SEGV $$", "was ended by SIGSEGV; "),
        ("exit 0", "ended with 0; "),
    ],
)
def test_a_process_that_is_killed_is_no_verdict(tmp_path: pathlib.Path, monkeypatch, ending: str, said: str) -> None:
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\nread request\n{ending}\n")
    broken.chmod(0o755)
    monkeypatch.setattr(probe_process.sys, "executable", str(broken))
    with pytest.raises(ProbeError, match=said):
        probe_process.probe("nowhere", 1.0, 5.0)


def test_of_much_that_a_process_wrote_the_end_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nread request\nprintf '%3000s' | tr ' ' a >&2\necho the end >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(probe_process.sys, "executable", str(broken))
    with pytest.raises(ProbeError, match=f"and wrote: {'a' * 1993}the end; the same command"):
        probe_process.probe("nowhere", 1.0, 5.0)


def test_a_process_that_nobody_asked_is_stopped(started: pathlib.Path) -> None:
    probe_process.start_ahead()
    process = probe_process._ahead._process
    probe_process.stop_ahead()
    assert process.returncode == -signal.SIGKILL
    probe_process.stop_ahead()


def test_a_process_that_does_not_answer_is_stopped(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = tmp_path / "python"
    endless.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    endless.chmod(0o755)
    monkeypatch.setattr(probe_process.sys, "executable", str(endless))
    monkeypatch.setattr(probe_process, "TIMEOUT_S", 0.1)
    probe_process.start_ahead()
    process = probe_process._ahead._process
    with pytest.raises(ProbeError, match=r"expected the model to answer within 0\.1 s; got nothing; the same command"):
        probe_process.probe("nowhere", 1.0, 5.0)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_without_a_request_the_process_just_ends() -> None:
    command = [sys.executable, "-m", "pipeline.serving.servable_probe"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_ratings_are_finite_in_the_sample_model(tmp_path: pathlib.Path) -> None:
    rating = Servable(tmp_path)({"user_id": tf.constant(["1", "2"]), "movie_title": tf.constant(["C", "?"])})
    np.testing.assert_allclose(rating, [[1 + 2 / 9], [1 + 10 / 9]], rtol=1e-6)
