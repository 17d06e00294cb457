"""YAML that is read without growing: aliases of aliases make gigabytes of a few lines."""

from __future__ import annotations

from typing import Any

import yaml

from modules.errors import UserError

# Values, names of fields among them, that a text may stand for; a configuration has some hundred.
MOST_VALUES = 10_000


def load(text: str | bytes) -> Any:
    """What a text stands for: plain values, lists and fields, and no object of Python.

    Raises:
      yaml.YAMLError: it is no YAML, or stands for another kind of value.
      UserError: it stands for more values than a configuration can have.
      ValueError: one of its values is none, such as a date of the 30th of February.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for, each alias counted as what it repeats.

    Args:
      node: the node.
      known: the counts of nodes so far, by identity; None while one is being counted.
    """
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise UserError("an alias that stands for a value it is part of")
        return count
    known[id(node)] = None
    count = 1
    if isinstance(node, yaml.CollectionNode):
        for entry in node.value:
            for each in entry if isinstance(entry, tuple) else (entry,):
                count += _count(each, known)
                if count > MOST_VALUES:
                    repeated = ", as aliases repeat them" if len(known) <= MOST_VALUES else ""
                    raise UserError(f"more than {MOST_VALUES:,} values{repeated}; a configuration has some hundred")
    known[id(node)] = count
    return count
