"""The probe and the validator on models that are servable and on ones that are not."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from components import servable_probe, servable_validator

USERS, TITLES = ["1", "2"], ["A", "B", "C"]


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
        return str(path)


def test_a_servable_model_has_no_failures(tmp_path: pathlib.Path) -> None:
    assert servable_probe.probe(Servable(tmp_path).save(tmp_path / "model"), 1.0, 5.0) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nan for unknown users", "expected finite ratings"),
        ("off the scale", "expected ratings in [1.0, 5.0]"),
        ("error for unknown users", "the loaded object failed"),
        ("no last axis", "expected float32 [12, 1]"),
        ("signatures differ", "serving_default and the loaded object differ by up to 0.5"),
        ("depends on the batch", "a batch of one gives"),
        ("worst first", "best first"),
        ("loses a title", "rank: expected the 4 titles it was given"),
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
def test_the_validator_asks_a_fresh_process(tmp_path: pathlib.Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, fault in ((good, ""), (bad, "worst first")):
        folder.mkdir()
        Servable(folder, fault).save(folder / "model")
    assert servable_validator.probe_in_fresh_process(str(good / "model"), 1.0, 5.0) == []
    (failure,) = servable_validator.probe_in_fresh_process(str(bad / "model"), 1.0, 5.0)
    assert "best first" in failure


def test_a_process_that_dies_is_a_failure(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of memory >&2\nexit 137\n")
    broken.chmod(0o755)
    monkeypatch.setattr(servable_validator.sys, "executable", str(broken))
    (failure,) = servable_validator.probe_in_fresh_process("nowhere", 1.0, 5.0)
    assert "ended with 137" in failure
    assert "out of memory" in failure


def test_ratings_are_finite_in_the_sample_model(tmp_path: pathlib.Path) -> None:
    rating = Servable(tmp_path)({"user_id": tf.constant(["1", "2"]), "movie_title": tf.constant(["C", "?"])})
    np.testing.assert_allclose(rating, [[1 + 2 / 9], [1 + 10 / 9]], rtol=1e-6)
