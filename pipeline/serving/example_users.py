"""Whom a serialized tf.Example is about."""

from __future__ import annotations

import base64

import tensorflow as tf
from google.protobuf import message

from modules import features


def user_of_example(value: object) -> str | None:
    """The user of a serialized tf.Example, as bytes or as JSON has them; None where it tells none."""
    if isinstance(value, dict):
        try:
            value = base64.b64decode(str(value.get("b64", "")))
        except ValueError:
            return None
    if not isinstance(value, bytes):
        return None
    try:
        example = tf.train.Example.FromString(value)
    except message.DecodeError:
        return None
    names = example.features.feature[features.USER_ID.name].bytes_list.value
    return names[0].decode(errors="replace") if names else None
