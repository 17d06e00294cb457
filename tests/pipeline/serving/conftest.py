"""A real exported model, what plain TensorFlow answers with it, and a server of it."""

from __future__ import annotations

import base64
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from modules import paths
from tests import support
from tests.pipeline.serving import pushing, servers

ACCENTED = "Élan vital – 日本 (1983)"
RENAMED = {"Film 03 (1983)": ACCENTED}
KNOWN, OTHERS = "Film 02 (1982)", ["Film 04 (1984)", "Film 05 (1985)"]
UNKNOWN = "No such film (1900)"


def example(user: str, title: str) -> bytes:
    return support.serialize({"user_id": user, "movie_title": title})


def requests() -> list[tuple[str, dict[str, Any]]]:
    """Requests for every signature: one, several and none; known, unknown and accented names."""
    titles = [KNOWN, ACCENTED, UNKNOWN, *OTHERS]
    users = ["u1", "nobody", "Ünïcødé", "u2", "u1"]
    lists = {"k": 5, "exclude": [], "only": []}
    return [
        ("predict", {"user_id": users, "movie_title": titles}),
        ("predict", {"user_id": ["u1"], "movie_title": [KNOWN]}),
        ("predict", {"user_id": [], "movie_title": []}),
        ("serving_default", {"examples": [example(*pair) for pair in zip(users, titles, strict=True)]}),
        ("serving_default", {"examples": [example("u1", ACCENTED)]}),
        ("serving_default", {"examples": []}),
        ("rank", {"user_id": ["u1"], "movie_title": titles}),
        ("rank", {"user_id": ["nobody"], "movie_title": [ACCENTED]}),
        ("rank", {"user_id": ["u1"], "movie_title": []}),
        ("recommend", {"user_id": ["u1"], **lists}),
        ("recommend", {"user_id": ["nobody"], "k": 3, "exclude": [ACCENTED, KNOWN], "only": []}),
        ("recommend", {"user_id": ["u2"], "k": 3, "exclude": [], "only": [ACCENTED, UNKNOWN, *OTHERS]}),
        ("recommend", {"user_id": ["u2"], "k": 0, "exclude": [], "only": []}),
        ("recommend_for", {"movie_title": [ACCENTED, KNOWN], "user_rating": [5.0, 1.5], **lists}),
        ("recommend_for", {"movie_title": [], "user_rating": [], **lists}),
        ("recommend_users", {"user_id": ["u1", "nobody", "u2"], **lists}),
        ("recommend_users", {"user_id": ["u1"], **lists}),
        ("recommend_users", {"user_id": [], **lists}),
        ("explain", {"user_id": ["u1"], "asked_title": [ACCENTED, UNKNOWN]}),
        ("explain", {"user_id": ["nobody"], "asked_title": []}),
        ("explain_for", {"movie_title": [KNOWN], "user_rating": [4.0], "asked_title": [ACCENTED]}),
        ("similar", {"movie_title": [ACCENTED], **lists}),
        ("similar", {"movie_title": [UNKNOWN], **lists}),
        ("evaluation", {"examples": [example("u1", KNOWN), example("nobody", UNKNOWN)]}),
        ("evaluation_lists", {"user_id": ["u1", "nobody"], "k": 4}),
        ("catalogue", {}),
    ]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an exported model that recommends."""
    return support.export_recommending(tmp_path_factory.mktemp("exported"), renamed=RENAMED)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of one that answers otherwise."""
    return support.export_recommending(tmp_path_factory.mktemp("other"), users=28, upside_down=True, renamed=RENAMED)


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return [_as_json(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="session")
def golden(model: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What plain TensorFlow answers from the SavedModel, read back from the one file of it."""
    loaded = tf.saved_model.load(paths.plain(model))
    asked = requests()
    assert {name for name, _ in asked} == set(loaded.signatures)
    rows = []
    for name, inputs in asked:
        specs = loaded.signatures[name].structured_input_signature[1]
        assert specs.keys() == inputs.keys(), name
        tensors = {each: tf.constant(value, specs[each].dtype) for each, value in inputs.items()}
        outputs = {each: value.numpy() for each, value in loaded.signatures[name](**tensors).items()}
        rows.append(
            {
                "signature": name,
                "inputs": {each: _as_json(value) for each, value in inputs.items()},
                "outputs": {
                    each: {
                        "shape": list(value.shape),
                        "text": value.dtype == object,
                        "values": [v.decode() if isinstance(v, bytes) else v for v in value.ravel().tolist()],
                    }
                    for each, value in outputs.items()
                },
            }
        )
    path = tmp_path_factory.mktemp("golden") / "requests.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def inputs_of(row: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a golden request as plain values, bytes decoded."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return base64.b64decode(value["b64"])
        return [plain(each) for each in value] if isinstance(value, list) else value

    return {name: plain(value) for name, value in row["inputs"].items()}


def assert_golden(row: dict[str, Any], outputs: dict[str, np.ndarray]) -> None:
    """The outputs are those of plain TensorFlow: texts the same, numbers within 1e-6."""
    assert outputs.keys() == row["outputs"].keys()
    for name, expected in row["outputs"].items():
        found = outputs[name]
        assert list(found.shape) == expected["shape"], name
        values = [each.decode() if isinstance(each, bytes) else each for each in found.ravel().tolist()]
        if expected["text"]:
            assert values == expected["values"], name
        else:
            np.testing.assert_allclose(values, expected["values"], rtol=0, atol=1e-6, err_msg=name)


@pytest.fixture(scope="session")
def output(model: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An output folder with one pushed version, which tests leave as it is."""
    folder = tmp_path_factory.mktemp("output")
    pushing.push(model, folder)
    return folder


@pytest.fixture(scope="session")
def served(output: pathlib.Path) -> Iterator[servers.Running]:
    """A server of it."""
    with servers.running(output) as running:
        yield running
