"""The pushed versions of an output folder: what was judged of each, its labels, and who gets it."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from collections.abc import Callable
from typing import Any

from components import model_digest, push_records, pushed_versions
from components.errors import IntegrityError
from modules import judge
from modules.errors import UserError
from modules.list_metrics import LIST_NDCG
from modules.sliced_metrics import NDCG, OVERALL, RMSE
from pipeline.config import locations
from pipeline.local import metadata_file
from pipeline.serving.labels import CANARY, STABLE, Labels

# Versions that are seconds since 1970, from 2001 on; others were not named by Pusher.
_SECONDS = range(10**9, 10**11)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """A pushed version.

    Attributes:
      number: by which servers know it.
      path: of its folder.
      intact: whether its files are those that were judged; None, if it is not recorded what was: servers take neither.
      labels: its labels, in alphabetical order.
      share: of the users who get it where a request names neither version nor label, 0 to 1.
      rmse: on the test ratings, stars; None, if it is not known.
      ndcg: NDCG@10 of the test ratings of each user; likewise.
      list_ndcg: NDCG@10 of lists out of all titles; likewise, and None of a model that does not recommend.
    """

    number: int
    path: str
    intact: bool | None
    labels: list[str]
    share: float
    rmse: float | None = None
    ndcg: float | None = None
    list_ndcg: float | None = None

    @property
    def pushed_at(self) -> str | None:
        """When it was pushed, in UTC, as ISO 8601 has it; None, if its number does not tell."""
        if self.number not in _SECONDS:
            return None
        return datetime.datetime.fromtimestamp(self.number, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def as_record(self) -> dict[str, Any]:
        """All of it as plain JSON; the number under `version`."""
        attributes = dataclasses.asdict(self)
        return {"version": attributes.pop("number"), "pushed_at": self.pushed_at, **attributes}


def folder_of(output: str) -> str:
    """The folder of the versions under a pipeline's output folder."""
    return os.path.join(output, locations.SERVING_FOLDER)


def of_output(output: str, *, with_metrics: bool) -> list[Version]:
    """The pushed versions under a pipeline's output folder, the newest first.

    Args:
      output: the folder.
      with_metrics: read what Evaluator measured, too, which takes seconds.

    Raises:
      UserError: nothing was pushed there, or labels or ML Metadata cannot be read.
    """
    folder = folder_of(output)
    found = pushed_versions.versions(folder)
    if not found:
        raise UserError(f"expected a pushed model under {folder}; there is none; run `movie-ranking run` first")
    intact = {number: _is_intact(path, push_records.judged(folder, number)) for number, path in found.items()}
    measured = _measured(output) if with_metrics else {}
    labels = Labels.read(folder)
    shares = _shares(labels, intact)
    return [
        Version(
            number=number,
            path=found[number],
            intact=intact[number],
            labels=labels.of_version(number),
            share=shares.get(number, 0.0),
            **measured.get(number, {}),
        )
        for number in sorted(found, reverse=True)
    ]


def change(output: str, changed: Callable[[Labels, list[int]], Labels]) -> tuple[Labels, Labels]:
    """Changes the labels of an output folder; no push and no other change is under way meanwhile.

    Args:
      output: the folder.
      changed: gives the new labels, of the old ones and the versions that servers take: those that are, as is recorded,
        what was judged.

    Returns:
      the labels before and after.

    Raises:
      UserError: `changed` does, nothing was pushed, or what is needed cannot be read.
      OSError: the folder cannot be written to, or is full.
    """
    folder = folder_of(output)
    if not os.path.isdir(folder):
        raise UserError(f"expected a pushed model under {folder}; there is none; run `movie-ranking run` first")
    with pushed_versions.alone(folder):
        known = [version.number for version in of_output(output, with_metrics=False) if version.intact]
        before = Labels.read(folder)
        after = changed(before, known)
        after.write(folder)
    return before, after


def _measured(output: str) -> dict[int, dict[str, float | None]]:
    """What Evaluator measured of each version, by attribute of `Version`; nothing where its evaluation is gone.

    Raises:
      UserError: ML Metadata is damaged.
    """
    path = os.path.join(output, locations.METADATA_FILE)
    # Without its database, as where the versions alone were copied, nothing is known of it.
    if not os.path.isfile(path):
        return {}
    if fault := metadata_file.damage(path):
        raise UserError(
            f"expected the ML Metadata of the pushed versions in {path}; {fault}; put it back, or give "
            "`movie-ranking run --rebuild`, which sets it aside"
        )
    # Seconds to import, which a change of labels does not need.
    from components import evaluation_files
    from components.model_pusher import BLESSING_KEYS
    from pipeline.local.pushed import all_pushed
    from pipeline.local.run_artifacts import RunArtifacts

    names = {"rmse": RMSE, "ndcg": NDCG, "list_ndcg": LIST_NDCG}
    artifacts, found = RunArtifacts(path, {}), {}
    for artifact, pushed in all_pushed(artifacts):
        blessing = artifacts.given_for(artifact, BLESSING_KEYS[0])
        evaluation = artifacts.made_with(blessing, "evaluation") if blessing else None
        if evaluation is None or not os.path.isfile(os.path.join(evaluation.uri, "eval_config.json")):
            continue
        mine = evaluation_files.read(evaluation.uri).get(OVERALL, {}).get(judge.CANDIDATE, {})
        values = {name: mine.get(metric, math.nan) for name, metric in names.items()}
        # An output folder may have been moved since: versions count by their numbers.
        found[int(os.path.basename(pushed.version))] = {
            name: value if math.isfinite(value) else None for name, value in values.items()
        }
    return found


def _is_intact(path: str, judged: str | None) -> bool | None:
    if judged is None:
        return None
    try:
        return model_digest.of_folder(path) == judged
    except IntegrityError:
        return False


def _shares(labels: Labels, intact: dict[int, bool | None]) -> dict[int, float]:
    """Share of the users by version, where a request names neither version nor label.

    A label whose version cannot be served does not count, as servers have it.
    """
    good = [number for number, is_intact in intact.items() if is_intact]
    if not good:
        return {}
    canary, stable = (labels.labels.get(name) for name in (CANARY, STABLE))
    stable = stable if stable in good else max(good)
    if canary not in good or canary == stable:
        return {stable: 1.0}
    return {canary: labels.canary_share, stable: 1.0 - labels.canary_share}
