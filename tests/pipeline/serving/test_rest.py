"""The REST interface beside its answers: paths, status, metadata, and what is refused and how."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pipeline.serving.conftest import KNOWN
from tests.pipeline.serving.servers import Running

BASE = "/v1/models/movie_ranking"
PREDICT = f"{BASE}:predict"
PAIR = {"signature_name": "predict", "inputs": {"user_id": ["u1"], "movie_title": [KNOWN]}}


def version_of(served: Running) -> str:
    return served.ask("GET", BASE).json["model_version_status"][0]["version"]


def assert_alive(served: Running) -> None:
    """The server answers the next request."""
    assert served.predict(PAIR).status == 200


def test_status_is_that_of_tensorflow_serving(served: Running, output) -> None:
    version = next(path.name for path in (output / "serving_model").iterdir() if path.name.isdigit())
    expected = {
        "model_version_status": [
            {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert served.ask("GET", BASE).json == expected
    assert served.ask("GET", f"{BASE}/versions/{version}").json == expected


def test_metadata_is_that_of_tensorflow_serving(served: Running) -> None:
    version = version_of(served)
    for path in (f"{BASE}/metadata", f"{BASE}/versions/{version}/metadata"):
        told = served.ask("GET", path).json
        assert told["model_spec"] == {"name": "movie_ranking", "signature_name": "", "version": version}
        signatures = told["metadata"]["signature_def"]["signature_def"]
        assert {"serving_default", "predict", "rank", "recommend", "__saved_model_init_op"} <= set(signatures)
        rank = signatures["rank"]
        assert rank["method_name"] == "tensorflow/serving/predict"
        assert rank["inputs"]["user_id"]["dtype"] == "DT_STRING"
        shape = {"dim": [{"size": "1", "name": ""}], "unknown_rank": False}
        assert rank["inputs"]["user_id"]["tensor_shape"] == shape
        assert rank["inputs"]["movie_title"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
        assert rank["inputs"]["user_id"]["name"].endswith(":0")


def test_each_answer_says_which_version_and_request_it_was(served: Running) -> None:
    version = version_of(served)
    for path, body in ((PREDICT, json.dumps(PAIR)), (PREDICT, "{"), (f"{BASE}:classify", "{}")):
        headers = served.ask("POST", path, body, {"X-Request-ID": "abc-123"}).headers
        assert (headers["x-request-id"], headers["x-model-version"]) == ("abc-123", version)
        assert len(headers["x-model-digest"]) == 64
    given = {"X-Request-ID": "no such\tid, it has blanks"}
    assert len(served.ask("GET", BASE, headers=given).headers["x-request-id"]) == 32


def test_an_exact_version_answers(served: Running) -> None:
    assert served.predict(PAIR, f"{BASE}/versions/{version_of(served)}:predict").status == 200
    assert served.predict(PAIR, f"/V1/Models/movie_ranking/Versions/{version_of(served)}:PREDICT").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
        ("GET", f"{BASE}/versions/1", 404, "Could not find version 1 of model movie_ranking"),
        ("GET", f"{BASE}/versions/1/metadata", 404, "Servable not found for request: Specific(movie_ranking, 1)"),
        ("GET", f"{BASE}/labels/stable", 400, "Unrecognized servable version label: stable"),
        ("GET", PREDICT, 400, f"Malformed request: GET {PREDICT}"),
        ("POST", BASE, 400, f"Malformed request: POST {BASE}"),
        ("POST", f"{BASE}:explode", 400, f"Malformed request: POST {BASE}:explode"),
        ("DELETE", BASE, 400, f"Malformed request: DELETE {BASE}"),
        ("PUT", PREDICT, 400, f"Malformed request: PUT {PREDICT}"),
        ("POST", "/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        ("POST", f"{BASE}/versions/7:predict", 404, "Servable not found for request: Specific(movie_ranking, 7)"),
        ("POST", f"{BASE}/versions/{10**30}:predict", 400, "Failed to convert version:"),
        ("POST", f"{BASE}/labels/canary:predict", 400, "Unrecognized servable version label: canary"),
        ("POST", f"{BASE}/versions/-1:predict", 400, "Malformed request"),
        ("POST", f"{BASE}/versions/%31:predict", 400, "Malformed request"),
        ("GET", "/nothing/here", 404, "Not Found"),
        ("POST", "/healthz", 405, "Method Not Allowed"),
    ],
)
def test_wrong_paths_are_refused_as_tensorflow_serving_does(
    served: Running, method: str, path: str, status: int, said: str
) -> None:
    answer = served.ask(method, path, json.dumps(PAIR) if method == "POST" else None)
    assert (answer.status, said in answer.error) == (status, True), answer.body
    assert_alive(served)


@pytest.mark.parametrize(("method", "kind"), [("classify", "classification"), ("regress", "regression")])
def test_what_a_recommender_has_no_signature_for(served: Running, method: str, kind: str) -> None:
    answer = served.predict({"examples": [{"user_id": "u1"}]}, f"{BASE}:{method}")
    assert answer.status == 400
    assert answer.error == (
        f"Expected {kind} signature method_name to be tensorflow/serving/{method}. Was: tensorflow/serving/predict"
    )
    answer = served.predict({"signature_name": "none", "examples": []}, f"{BASE}:{method}")
    assert answer.error == "No signature was found with the name: none"


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def columns(signature: str = "predict", **inputs: object) -> dict:
    return {"signature_name": signature, "inputs": inputs}


REFUSED = {
    "nothing": (b"", "JSON Parse error: The document is empty"),
    "no JSON": (b"hello", "JSON Parse error: Expecting value at offset: 0"),
    "cut": (b'{"inputs": {"user_id": ["u1"', "JSON Parse error"),
    "two documents": (b"{} {}", "JSON Parse error: Extra data"),
    "a list": (b"[1, 2]", "Is not object"),
    "a number": (b"1", "Is not object"),
    "a number of many digits": (b'{"inputs": ' + b"9" * 10_000 + b"}", "JSON "),
    "NaN": (b'{"inputs": {"movie_title": ["a"], "user_rating": [NaN]}}', "expected numbers; got NaN"),
    "infinity": (b'{"inputs": [-Infinity]}', "expected numbers; got -Infinity"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "JSON Parse error"),
    "Latin-1": ('{"inputs": "é"}'.encode("latin-1"), "expected UTF-8; got 0xe9 at offset: 12"),
    "UTF-16": ('{"inputs": "é"}'.encode("utf-16"), "expected UTF-8; got 0xff at offset: 0"),
    "neither form": ({"signature_name": "predict"}, "Missing 'inputs' or 'instances' key"),
    "both forms": ({"inputs": {}, "instances": []}, "expecting only one of 'inputs' or 'instances' keys"),
    "no text as signature": ({"signature_name": 7, "inputs": {}}, "'signature_name' key must be a string value."),
    "another signature": (columns("none"), 'Serving signature name: "none" not found in signature def'),
    "the one that initializes": (columns("__saved_model_init_op"), "not found in signature def"),
    "a missing input": (columns(user_id=["u1"]), "Missing named input: movie_title in 'inputs' object."),
    "a plain list for two": (
        {"signature_name": "predict", "inputs": ["u1"]},
        "inputs is a plain value/list, but expecting an object",
    ),
    "numbers as names": (columns(user_id=[1], movie_title=["a"]), "JSON Value: 1 Type: Number is not of expected type"),
    "null as a name": (columns(user_id=[None], movie_title=["a"]), "Type: Null is not of expected type: string"),
    "an object as a name": (columns(user_id=[{"b64": 1}], movie_title=["a"]), "Type: Object is not of expected type"),
    "no base64": (columns(user_id=[{"b64": "é!"}], movie_title=["a"]), "Unable to base64 decode"),
    "bytes that are no UTF-8": (
        columns(user_id=[b64(b"\xff\xfe")], movie_title=["a"]),
        'expected UTF-8 in input "user_id"; got 0xff at byte 0',
    ),
    "half a surrogate pair": (
        b'{"signature_name": "predict", "inputs": {"user_id": ["\\ud800"], "movie_title": ["a"]}}',
        "half a surrogate pair",
    ),
    "different lengths": (columns(user_id=["u1", "u2"], movie_title=["a", "b", "c"]), ""),
    "a scalar for a batch": (columns(user_id="u1", movie_title=["a"]), 'input "user_id" of shape [any]; got []'),
    "two users to rank for": (
        columns("rank", user_id=["u1", "u2"], movie_title=["a"]),
        'expected input "user_id" of shape [1]; got [2]',
    ),
    "too many dimensions": (columns(user_id=[["u1"]], movie_title=["a"]), "of shape [any]; got [1, 1]"),
    "ragged": (columns(user_id=[["a"], []], movie_title=["a"]), "Encountered list at unexpected size: 0 at level: 1"),
    "uneven": (columns(user_id=["a", ["b"]], movie_title=["a"]), "Encountered list at unexpected level"),
    "uneven the other way": (columns(user_id=[["a"], "b"], movie_title=["a"]), "found at incorrect level"),
    "a list for k": (
        columns("recommend", user_id=["u1"], k=[3], exclude=[], only=[]),
        'expected input "k" of shape []; got [1]',
    ),
    "a fraction for k": (columns("recommend", user_id=["u1"], k=3.0, exclude=[], only=[]), "Type: Number is not of"),
    "truth for k": (columns("recommend", user_id=["u1"], k=True, exclude=[], only=[]), "Type: Boolean is not of"),
    "k beyond its type": (
        columns("recommend", user_id=["u1"], k=2**31, exclude=[], only=[]),
        "is not of expected type",
    ),
    "a rating beyond its type": (
        b'{"signature_name": "recommend_for", "inputs": {"movie_title": ["a"], "user_rating": [1e999], "k": 1, '
        b'"exclude": [], "only": []}}',
        "is not of expected type: float32",
    ),
    "no tf.Example": ({"inputs": [b64(b"nonsense")]}, "Could not parse example input"),
    "no tf.Example, nor text": ({"inputs": [b64(b"=i\x96W\xf6\xe4\x167\xddH")]}, "Could not parse example input"),
    "no tf.Example, as text": ({"inputs": ["nonsense"]}, "Could not parse example input"),
    "instances that are none": ({"instances": 7}, "Expecting 'instances' to be an list/array"),
    "no instances": ({"instances": []}, "No values in 'instances' array"),
    "plain instances for two": ({"signature_name": "predict", "instances": ["a"]}, "instances is a plain list"),
    "an instance that lacks": (
        {"signature_name": "predict", "instances": [{"user_id": "u1"}]},
        "keys must be equal to: movie_title,user_id",
    ),
    "an instance with more": (
        {"signature_name": "predict", "instances": [{"user_id": "u1", "movie_title": "a", "year": 1}]},
        "does not have named input: year",
    ),
    "instances of two kinds": ({"instances": [{"examples": b64(b"")}, "a"]}, "Expecting object but got list at item 1"),
    "instances of two kinds, the other way": (
        {"instances": [b64(b""), {"examples": b64(b"")}]},
        "Expecting value/list but got object at item 1",
    ),
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_malformed_is_refused_and_the_next_request_answered(served: Running, body: str) -> None:
    content, said = REFUSED[body]
    answer = served.predict(content)
    assert answer.status == 400, answer.body
    assert said in answer.error
    assert_alive(served)


def test_columns_beyond_those_of_the_signature_do_not_matter(served: Running) -> None:
    more = {**PAIR, "inputs": {**PAIR["inputs"], "year": [1]}, "comment": "as TensorFlow Serving has it"}
    assert served.predict(more).json == served.predict(PAIR).json


def test_a_compressed_body_is_taken_and_a_bomb_refused(served: Running) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert served.ask("POST", PREDICT, gzip.compress(json.dumps(PAIR).encode()), headers).status == 200
    assert served.ask("POST", PREDICT, gzip.compress(bytes(200 << 20)), headers).status == 413
    answer = served.ask("POST", PREDICT, b"not compressed", headers)
    assert (answer.status, "expected a body in the encoding" in answer.error) == (400, True)
    assert_alive(served)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.builds(b64, st.binary()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["user_id", "movie_title", "k", "only", "exclude", "examples"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    form=st.sampled_from(["inputs", "instances"]),
    signature=st.sampled_from(["predict", "rank", "recommend", "similar", "serving_default", ""]) | st.text(max_size=9),
    value=JSON,
)
def test_whatever_is_asked_is_answered_or_refused(served: Running, form: str, signature: str, value: object) -> None:
    answer = served.predict(json.dumps({"signature_name": signature, form: value}))
    assert answer.status in (200, 400), answer.body
    assert answer.status == 200 or answer.error


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200), path=st.sampled_from([PREDICT, f"{BASE}:classify", f"{BASE}:regress"]))
def test_any_bytes_are_answered_or_refused(served: Running, body: bytes, path: str) -> None:
    answer = served.ask("POST", path, body)
    assert (answer.status, bool(answer.error)) == (400, True)


def test_health_needs_nothing(served: Running) -> None:
    assert served.ask("GET", "/healthz").body == b"ok\n"
    assert served.ask("GET", "/readyz").body == b"ok\n"


def test_the_description_names_every_path_and_signature(served: Running) -> None:
    told = served.ask("GET", "/openapi.json").json
    assert told["openapi"] == "3.0.3"
    version = version_of(served)
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            body = None
            if "requestBody" in operation:
                body = json.dumps(PAIR)
            place = path.replace("{version}", version)
            if "{label}" in place:
                continue
            status = str(served.ask(method.upper(), place, body).status)
            assert status == "200"
            assert status in operation["responses"]
    request = told["components"]["schemas"]["Request"]["oneOf"]
    assert {"predict", "rank", "recommend"} <= {each["title"] for each in request}


def values_of(schema: dict) -> st.SearchStrategy:
    """Values that a schema of the description allows."""
    if "oneOf" in schema:
        return st.one_of([values_of(each) for each in schema["oneOf"]])
    if schema.get("type") == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems", 4)
        return st.lists(values_of(schema["items"]), min_size=least, max_size=most)
    if schema.get("type") == "object":
        return st.fixed_dictionaries({name: values_of(each) for name, each in schema["properties"].items()})
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "byte":
        return st.text(max_size=8).map(lambda text: b64(text.encode())["b64"])
    return {
        "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        "integer": st.integers(schema.get("minimum", 0), schema.get("maximum", 100)),
        "number": st.floats(-100, 100),
    }[schema["type"]]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_the_description_allows_is_answered(served: Running, data: st.DataObject) -> None:
    schemas = [
        each
        for each in served.ask("GET", "/openapi.json").json["components"]["schemas"]["Request"]["oneOf"]
        if each["title"] != "in rows"
    ]
    request = data.draw(values_of(data.draw(st.sampled_from(schemas))))
    answer = served.predict(request)
    # Inputs whose lengths do not go together, and examples that are none, no schema can tell.
    assert answer.status in (200, 400), (request, answer.body)
    assert answer.status == 200 or answer.error
