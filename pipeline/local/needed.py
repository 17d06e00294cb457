"""What of an output folder is still needed, so that it must not be removed.

That is what the newest runs took or made; the newest pushed versions; the newest blessed model, which the next one is
compared with, and its evaluation; what `last_run.json` names; and versions that have a label, or are what a roll-back
leads to. With a version stays what tells of it: Pusher's record and the evaluation. An execution is needed with all
that it put out, or not at all: the cache takes no part of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
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
from pipeline.serving.labels import Labels

LIVE = metadata_store_pb2.Artifact.LIVE


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
    artifacts = _with_siblings(history, wanted)
    versions = frozenset(_versions(history, artifacts, said, serving, keep))
    return Needed(
        artifacts=artifacts | _with_siblings(history, set(_told_of(history, versions))),
        components=frozenset(history.components[each] for each in kept),
        unfinished=frozenset(
            history.components[each] for each in kept if history.executions[each].last_known_state not in FINISHED
        ),
        versions=versions,
    )


def _with_siblings(history: History, wanted: set[int]) -> frozenset[int]:
    """Artifacts, and what their executions put out beside them, as far as it is not removed yet."""
    makers = {history.makers.get(id_) for id_ in wanted}
    whole = {id_ for id_, maker in history.makers.items() if maker in makers} | wanted
    return frozenset(id_ for id_ in whole if history.artifacts[id_].state == LIVE)


def _told_of(history: History, versions: Collection[int]) -> Iterator[int]:
    """What tells of pushed versions: Pusher's record, without which no server takes one, and Evaluator's verdict."""
    for artifact in history.of_type(standard_artifacts.PushedModel.TYPE_NAME):
        pushed = Pushed.of(artifact)
        if pushed is not None and int(os.path.basename(pushed.version)) in versions:
            yield artifact.id
            for id_ in history.artifacts_of(history.makers[artifact.id]):
                if history.artifacts[id_].type == standard_artifacts.ModelBlessing.TYPE_NAME:
                    yield id_


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
    labels = Labels.read(serving)
    yield from labels.labels.values()
    # The one to roll back to.
    yield from labels.history[-1:]
    records = [Pushed.of(history.artifacts[each]) for each in artifacts]
    made = {pushed.version for pushed in records if pushed is not None}
    yield from (number for number, path in there.items() if path in made or _is_named(path, said))


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
