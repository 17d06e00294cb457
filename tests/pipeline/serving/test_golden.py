"""The same answers as plain TensorFlow: in process, over REST in both forms, over gRPC."""

from __future__ import annotations

import pathlib

import numpy as np

from components import model_digest
from pipeline.serving.loaded_model import LoadedModel
from tests.pipeline.serving import servers
from tests.pipeline.serving.conftest import assert_golden, inputs_of
from tests.pipeline.serving.servers import Running


def as_array(expected: dict, value: object) -> np.ndarray:
    dtype = object if expected["text"] else np.float64
    return np.array(value, dtype).reshape(expected["shape"])


def test_in_process(model: str, golden: list[dict]) -> None:
    loaded = LoadedModel(model, 1, model_digest.of_folder(model))
    # As many as the model that was exported has signatures that are served.
    assert loaded.warm_up() == 9
    for row in golden:
        signature = loaded.signatures[row["signature"]]
        inputs = {
            name: np.array(
                [each.encode() if isinstance(each, str) else each for each in value]
                if isinstance(value, list)
                else value,
                object
                if signature.inputs[name].dtype.name == "string"
                else signature.inputs[name].dtype.as_numpy_dtype,
            )
            for name, value in inputs_of(row).items()
        }
        assert_golden(row, loaded.run(signature, inputs))


def test_rest_in_columns(served: Running, golden: list[dict]) -> None:
    for row in golden:
        if not row["inputs"]:
            # TensorFlow Serving has no way to ask for it.
            assert "Failed to get input map" in served.predict({"signature_name": row["signature"], "inputs": {}}).error
            continue
        answer = served.predict({"signature_name": row["signature"], "inputs": row["inputs"]})
        assert answer.status == 200, answer.body
        outputs = answer.json["outputs"]
        if len(row["outputs"]) == 1:
            outputs = {next(iter(row["outputs"])): outputs}
        assert_golden(row, {name: as_array(row["outputs"][name], value) for name, value in outputs.items()})


def test_rest_in_rows(served: Running, golden: list[dict]) -> None:
    asked = 0
    for row in golden:
        if row["signature"] not in ("predict", "serving_default", "evaluation"):
            continue
        batch = len(next(iter(row["inputs"].values())))
        if not batch:
            continue
        names = list(row["inputs"])
        instances = [dict(zip(names, values, strict=True)) for values in zip(*row["inputs"].values(), strict=True)]
        for rows in (instances, *([[each[names[0]] for each in instances]] if len(names) == 1 else [])):
            answer = served.predict({"signature_name": row["signature"], "instances": rows})
            assert answer.status == 200, answer.body
            predictions = answer.json["predictions"]
            assert len(predictions) == batch
            if len(row["outputs"]) == 1:
                predictions = [{next(iter(row["outputs"])): each} for each in predictions]
            outputs = {name: [each[name] for each in predictions] for name in row["outputs"]}
            assert_golden(row, {name: as_array(row["outputs"][name], value) for name, value in outputs.items()})
            asked += 1
    assert asked >= 5


def test_grpc(served: Running, golden: list[dict], output: pathlib.Path) -> None:
    version = int(next(path.name for path in (output / "serving_model").iterdir() if path.name.isdigit()))
    with served.prediction() as stub:
        for row in golden:
            request = servers.predict_request(row["signature"], inputs_of(row))
            response = stub.Predict(request, timeout=servers.TIMEOUT_S)
            assert_golden(row, servers.arrays(response))
            assert (response.model_spec.name, response.model_spec.version.value) == ("movie_ranking", version)
            assert response.model_spec.signature_name == row["signature"]


def test_grpc_filters_outputs(served: Running) -> None:
    request = servers.predict_request("rank", {"user_id": ["u1"], "movie_title": ["a", "b"]})
    request.output_filter.append("movie_title")
    with served.prediction() as stub:
        assert list(stub.Predict(request, timeout=servers.TIMEOUT_S).outputs) == ["movie_title"]
