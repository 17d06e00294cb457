"""What of an output folder is still needed, so that it must not be removed.

That is what the newest runs took or made; the newest pushed versions; the newest blessed model, which the next one is
compared with, and its evaluation; what `last_run.json` names; and versions that have a label. An execution is needed
with all that it put out, or not at all: the cache takes no part of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.components.evaluator import constants
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import model_digest, pushed_versions
from components.errors import IntegrityError
from modules.errors import UserError
from pipeline.local.history import FINISHED, History
from pipeline.local.pushed import Pushed
from pipeline.local.run import LAST_RUN_FILE

LIVE = metadata_store_pb2.Artifact.LIVE
# Of pushed versions: which of them have names of their own, as {"labels": {"stable": 1795664400}}.
LABELS_FILE = "labels.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needed:
    """What must stay.

    Attributes:
      artifacts: ids of artifacts.
      components: those that have an execution in one of the runs that are kept.
      unfinished: those that have an execution there which did not end, and may go on from where it was.
      versions: numbers of pushed versions.
    """

    artifacts: frozenset[int]
    components: frozenset[str]
    unfinished: frozenset[str]
    versions: frozenset[int]


def last_run(output: str) -> dict[str, Any]:
    """The record of the last run in an output folder; empty where none has come to an end.

    Raises:
      UserError: it is damaged.
    """
    path = os.path.join(output, LAST_RUN_FILE)
    if not os.path.exists(path):
        return {}
    what, remedy = "what a run wrote", "`movie-ranking run` writes it anew"
    record = _read(path, what, remedy)
    if not isinstance(record.get("config"), dict):
        raise UserError(f"expected {path} to hold {what}; got no configuration; {remedy}")
    return record


def find(history: History, record: dict[str, Any], serving: str, keep: int) -> Needed:
    """Finds what must stay.

    Args:
      history: of all runs.
      record: of the last run.
      serving: folder of the pushed versions, on this machine.
      keep: how many of the newest runs are kept, and of the newest pushed versions.

    Raises:
      UserError: the file of labels is damaged.
    """
    kept = frozenset().union(*history.runs[-keep:])
    wanted = set().union(*map(history.artifacts_of, kept))
    wanted.update(_blessed(history))
    said = "\n".join(_texts(record))
    wanted.update(id_ for id_, artifact in history.artifacts.items() if _is_named(artifact.uri, said))
    makers = {history.makers.get(id_) for id_ in wanted}
    whole = {id_ for id_, maker in history.makers.items() if maker in makers} | wanted
    artifacts = frozenset(id_ for id_ in whole if history.artifacts[id_].state == LIVE)
    return Needed(
        artifacts=artifacts,
        components=frozenset(history.components[each] for each in kept),
        unfinished=frozenset(
            history.components[each] for each in kept if history.executions[each].last_known_state not in FINISHED
        ),
        versions=frozenset(_versions(history, artifacts, said, serving, keep)),
    )


def _blessed(history: History) -> Iterator[int]:
    """The newest blessed model whose files are still those that were blessed, and the verdict."""
    for blessing in reversed(history.of_type(standard_artifacts.ModelBlessing.TYPE_NAME)):
        properties = blessing.custom_properties
        if blessing.state != LIVE or properties["blessed"].int_value != constants.BLESSED_VALUE:
            continue
        model = history.artifacts.get(properties[constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY].int_value)
        if model is None or model.state != LIVE:
            continue
        try:
            model_digest.check(path_utils.serving_model_path(model.uri), properties[model_digest.PROPERTY].string_value)
        except IntegrityError:
            continue
        yield from (blessing.id, model.id)
        return


def _versions(history: History, artifacts: Iterable[int], said: str, serving: str, keep: int) -> Iterator[int]:
    """The numbers of the versions that must stay."""
    there = pushed_versions.versions(serving)
    newest_first = sorted(there, reverse=True)
    yield from newest_first[:keep]
    # The one that answers where newer ones are damaged.
    whole = (number for number in newest_first if pushed_versions.is_whole(there[number]))
    yield from itertools.islice(whole, 1)
    yield from _labelled(os.path.join(serving, LABELS_FILE))
    records = [Pushed.of(history.artifacts[each]) for each in artifacts]
    made = {pushed.version for pushed in records if pushed is not None}
    yield from (number for number, path in there.items() if path in made or _is_named(path, said))


def _labelled(path: str) -> list[int]:
    """The versions that have a label.

    Raises:
      UserError: the file cannot be read.
    """
    if not os.path.exists(path):
        return []
    labels = _read(path, 'labels, such as {"labels": {"stable": 1}}', "correct it, or remove it").get("labels", {})
    if not isinstance(labels, dict) or not all(type(number) is int for number in labels.values()):
        raise UserError(
            f"expected in {path} labels of versions, which are whole numbers; got {labels!r:.200}; correct it"
        )
    return list(labels.values())


def _read(path: str, what: str, remedy: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except ValueError as error:
        raise UserError(f"expected {path} to hold {what}; got: {error}; {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"expected {path} to hold {what}; got {content!r:.200}; {remedy}")
    return content


def _texts(value: Any) -> Iterator[str]:
    """All texts within a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _is_named(path: str, text: str) -> bool:
    """Whether a text names a path, or one below it."""
    return bool(path) and re.search(re.escape(path) + r"(?!\w)", text) is not None
