"""The description of the REST interface, OpenAPI 3.0."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline.serving.model import Model
from pipeline.serving.signatures import TensorSpec

_ERRORS = {
    "400": "The request is malformed, or the model does not take it.",
    "401": "The key is missing or wrong.",
    "404": "There is no such model or version.",
    "413": "The body is too large.",
    "503": "Too many requests are under way, or no version is in service yet.",
    "504": "It takes too long.",
}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
_LABEL = {"name": "label", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/:]+$"}}


def document(name: str, model: Model | None) -> dict[str, Any]:
    """The description of a server.

    Args:
      name: of the model.
      model: whose signatures are described; None before the first version.
    """
    base = f"/v1/models/{name}"
    paths: dict[str, Any] = {}
    for place, parameters in (
        (base, []),
        (f"{base}/versions/{{version}}", [_VERSION]),
        (f"{base}/labels/{{label}}", [_LABEL]),
    ):
        paths[place] = {"get": _operation("States of the versions.", "ModelStatus", parameters)}
        paths[f"{place}/metadata"] = {"get": _operation("Signatures of the model.", "Metadata", parameters)}
        paths[f"{place}:predict"] = {
            "post": {
                **_operation("Answers of a signature.", "Answer", parameters),
                "requestBody": {"required": True, "content": _content("Request")},
            }
        }
    for path, what in (("/healthz", "Whether the process lives."), ("/readyz", "Whether requests are answered.")):
        paths[path] = {
            "get": {"summary": what, "responses": {"200": {"description": "It does."}, "503": _error("503")}}
        }
    return {
        "openapi": "3.0.3",
        "info": {"title": name, "version": "none" if model is None else str(model.number)},
        "paths": paths,
        "components": {
            "schemas": _schemas(model),
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }


def _operation(summary: str, schema: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "content": _content(schema)},
            **{status: _error(status) for status in _ERRORS},
        },
    }


def _error(status: str) -> dict[str, Any]:
    return {"description": _ERRORS[status], "content": _content("Error")}


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _schemas(model: Model | None) -> dict[str, Any]:
    asked = [
        {
            "type": "object",
            "title": signature.name,
            "required": ["signature_name", "inputs"],
            "properties": {
                "signature_name": {"type": "string", "enum": [signature.name]},
                "inputs": {
                    "type": "object",
                    "required": sorted(signature.inputs),
                    "properties": {name: _values(spec) for name, spec in signature.inputs.items()},
                },
            },
        }
        for signature in (model.signatures.values() if model else ())
        if signature.inputs
    ]
    rows = {
        "type": "object",
        "title": "in rows",
        "required": ["instances"],
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "minItems": 1, "items": {}},
        },
    }
    return {
        "Request": {"oneOf": [*asked, rows]},
        "Answer": {
            "type": "object",
            "description": "`outputs` of a request in columns, `predictions` of one in rows.",
            "properties": {"outputs": {}, "predictions": {"type": "array", "items": {}}},
        },
        "ModelStatus": {
            "type": "object",
            "required": ["model_version_status"],
            "properties": {
                "model_version_status": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["version", "state", "status"],
                        "properties": {
                            "version": {"type": "string"},
                            "state": {
                                "type": "string",
                                "enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"],
                            },
                            "status": {
                                "type": "object",
                                "properties": {"error_code": {"type": "string"}, "error_message": {"type": "string"}},
                            },
                        },
                    },
                }
            },
        },
        "Metadata": {
            "type": "object",
            "required": ["model_spec", "metadata"],
            "properties": {"model_spec": {"type": "object"}, "metadata": {"type": "object"}},
        },
        "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    }


def _values(spec: TensorSpec) -> dict[str, Any]:
    """The schema of one input: values of its type in lists, one within another."""
    if spec.dtype == tf.string:
        bytes_of = {"type": "object", "required": ["b64"], "properties": {"b64": {"type": "string", "format": "byte"}}}
        schema: dict[str, Any] = {"oneOf": [{"type": "string"}, bytes_of]}
    else:
        schema = {"type": "boolean" if spec.dtype == tf.bool else "number" if spec.dtype.is_floating else "integer"}
        if spec.dtype.is_integer:
            schema |= {"minimum": spec.dtype.min, "maximum": spec.dtype.max}
    for size in reversed(spec.shape or ()):
        bounds = {} if size is None else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **bounds}
    return schema
