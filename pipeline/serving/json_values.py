"""JSON to tensors and back, in the forms of TensorFlow Serving's REST interface."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from pipeline.serving import signatures
from pipeline.serving.errors import RequestError, invalid
from pipeline.serving.limits import Limits, check_depth
from pipeline.serving.signatures import Signature, TensorSpec

_B64 = "b64"
# What is shown of a value in a message.
_SHOWN_CHARACTERS = 60


def parse(body: bytes, limits: Limits) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
      RequestError: it is empty, no JSON, no object, nested too deeply, no UTF-8, or holds NaN or an infinity.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    check_depth(body, limits.depth)
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: expected UTF-8; got {body[error.start]:#04x} at offset: {error.start}"
        ) from error
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except ValueError as error:
        # Of a number of thousands of digits.
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request asks for; "" for the default one.

    Raises:
      RequestError: it is no text.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def is_in_rows(document: Mapping[str, Any]) -> bool:
    """Whether a request is in the row form, `instances`, rather than in columns, `inputs`.

    Raises:
      RequestError: it is in neither, or both.
    """
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" not in document and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    return "instances" in document


def user_of(document: Mapping[str, Any], user_key: str) -> Any:
    """The value of the user in a request of either form, the first one; None where there is none of that name."""
    rows = document.get("instances")
    first = rows[0] if isinstance(rows, list) and rows else document.get("inputs")
    value = first.get(user_key) if isinstance(first, dict) else None
    while isinstance(value, list):
        value = value[0] if value else None
    return value


def inputs(document: Mapping[str, Any], signature: Signature, limits: Limits) -> dict[str, np.ndarray]:
    """The tensors of a request.

    Args:
      document: what the request holds.
      signature: that it asks for.
      limits: on the number of values.

    Raises:
      RequestError: a value is missing, or not of the type or shape that the signature takes, or there are too many.
    """
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {signature.name}")
    columns = _columns_of_rows(document, signature) if is_in_rows(document) else _columns(document, signature)
    left = limits.values
    tensors = {}
    for name, value in columns.items():
        tensor = _tensor(value, signature.inputs[name], left, limits.values)
        left -= tensor.size
        tensors[name] = tensor
    signature.check_inputs(tensors)
    return tensors


def _columns(document: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    value = document["inputs"]
    if not isinstance(value, dict) or _is_b64(value):
        if len(signature.inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return dict.fromkeys(signature.inputs, value)
    for name in signature.inputs:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: value[name] for name in signature.inputs}


def _columns_of_rows(document: Mapping[str, Any], signature: Signature) -> dict[str, list[Any]]:
    rows = document["instances"]
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {_shown(document)} Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {_shown(document)} No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(signature.inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if len(signature.inputs) == 1 and (not isinstance(rows[0], dict) or _is_b64(rows[0])):
        for place, row in enumerate(rows):
            if isinstance(row, dict) and not _is_b64(row):
                raise invalid(f"Expecting value/list but got object at item {place} of input list")
        return dict.fromkeys(signature.inputs, rows)
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or _is_b64(row):
            raise invalid(f"Expecting object but got list at item {place} of input list")
        if unknown := row.keys() - signature.inputs.keys():
            raise invalid(
                f"Failed to process element: {place} key: {min(unknown)} of 'instances' list. Error: JSON object: does "
                f"not have named input: {min(unknown)}"
            )
        if row.keys() != signature.inputs.keys():
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {_shown(row)} keys must be "
                f"equal to: {','.join(sorted(signature.inputs))}"
            )
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _tensor(value: Any, spec: TensorSpec, left: int, most: int) -> np.ndarray:
    """A tensor of lists, or of one value.

    Raises:
      RequestError: the lists are ragged, a value is of another type, or there are more than `left`.
    """
    shape = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if math.prod(shape) > left:
            raise invalid(f"expected up to {most:,} values in a request; got more; ask in several requests")
        first = first[0] if first else None
    leaves: list[Any] = [value]
    for level, size in enumerate(shape):
        for each in leaves:
            if not isinstance(each, list):
                raise invalid(
                    f"JSON Value: {_shown(each)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                    f"level: {len(shape)}"
                )
            if len(each) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(each)} at level: {level} expected size: {size}"
                )
        leaves = [leaf for each in leaves for leaf in each]
    for leaf in leaves:
        if isinstance(leaf, list):
            raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return _array(leaves, spec).reshape(shape)


def _array(leaves: list[Any], spec: TensorSpec) -> np.ndarray:
    if spec.dtype == tf.string:
        array = np.empty(len(leaves), object)
        array[:] = list(_strings(leaves, spec))
        return array
    kinds: tuple[type, ...]
    if spec.dtype == tf.bool:
        kinds = (bool,)
    elif spec.dtype.is_floating:
        kinds = (int, float)
    elif spec.dtype.is_integer:
        kinds = (int,)
    else:
        raise invalid(f'expected no input in JSON of type {spec.dtype.name}, as "{spec.name}" is; ask over gRPC')
    for leaf in leaves:
        if type(leaf) not in kinds:
            raise _type_error(leaf, spec)
        if spec.dtype.is_integer and not spec.dtype.min <= leaf <= spec.dtype.max:
            raise _type_error(leaf, spec)
        # Infinity, too, which a decimal of hundreds of digits becomes.
        if spec.dtype.is_floating and not abs(leaf) <= spec.dtype.max:
            raise _type_error(leaf, spec)
    return np.array(leaves, spec.dtype.as_numpy_dtype)


def _strings(leaves: list[Any], spec: TensorSpec) -> Iterator[bytes]:
    for leaf in leaves:
        if isinstance(leaf, str):
            try:
                yield leaf.encode()
            except UnicodeEncodeError as error:
                raise invalid(f'expected text in "{spec.name}"; got half a surrogate pair in {_shown(leaf)}') from error
        elif _is_b64(leaf):
            try:
                content = base64.b64decode(leaf[_B64], validate=True)
            except (binascii.Error, ValueError) as error:
                raise invalid(f'Unable to base64 decode: {error}, in input "{spec.name}"') from error
            check_text(content, spec.name)
            yield content
        else:
            raise _type_error(leaf, spec)


def check_text(content: bytes, name: str) -> None:
    """Refuses a string that is no UTF-8, unless it holds a serialized tf.Example.

    Raises:
      RequestError: it is no UTF-8.
    """
    if name == signatures.EXAMPLES:
        return
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            f'expected UTF-8 in input "{name}"; got {content[error.start]:#04x} at byte {error.start} of '
            f"{content[:_SHOWN_CHARACTERS]!r}"
        ) from error


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_B64), str)


def _type_error(value: Any, spec: TensorSpec) -> RequestError:
    return invalid(
        f"JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: {spec.dtype.name}, that of input "
        f'"{spec.name}"'
    )


def _kind(value: Any) -> str:
    kinds = {dict: "Object", list: "Array", str: "String", bool: "Boolean", type(None): "Null"}
    return kinds.get(type(value), "Number")


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _refuse_constant(name: str) -> NoReturn:
    raise invalid(f"JSON Parse error: expected numbers; got {name}, which is not in JSON")


def answer(outputs: Mapping[str, np.ndarray], in_rows: bool) -> bytes:
    """The body of an answer.

    Args:
      outputs: by name.
      in_rows: whether the request was in the row form.

    Raises:
      RequestError: outputs have no common batch, which the row form needs.
    """
    columns = {name: _plain(name, value) for name, value in outputs.items()}
    if not in_rows:
        return _dump({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    batch: int | None = None
    for name, value in outputs.items():
        if not value.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (None, len(value)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(value)} expecting: {batch}")
        batch = len(value)
    if len(columns) == 1:
        return _dump({"predictions": next(iter(columns.values()))})
    return _dump({"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]})


def _plain(name: str, value: np.ndarray) -> Any:
    """A tensor as lists; texts are decoded, and bytes are coded where the name of the output says so."""
    if value.dtype != object:
        return value.tolist()
    as_bytes = name.endswith("_bytes")

    def text(content: bytes) -> Any:
        return {_B64: base64.b64encode(content).decode()} if as_bytes else content.decode(errors="replace")

    def texts(nested: Any) -> Any:
        return [texts(each) for each in nested] if isinstance(nested, list) else text(nested)

    return texts(value.tolist())


def _dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": ")).encode()
