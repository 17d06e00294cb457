"""Labels of pushed versions: which one is stable, and which one a share of the users tries first.

They lie in `labels.json` beside the versions, such as
`{"labels": {"stable": 1700000000, "canary": 1700000100}, "canary_share": 0.05, "history": [1690000000]}`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from data import atomic
from modules.errors import UserError
from modules.normalization import normalize

LABELS_FILE = "labels.json"
# Who names no version gets the stable one, but for the canary's share of the users.
STABLE, CANARY = "stable", "canary"
DEFAULT_CANARY_SHARE = 0.05
# So many earlier stable versions are remembered.
MOST_REMEMBERED = 20
# TensorFlow Serving reads versions as int64.
_MOST = 2**63 - 1
# What stands in a URL as it is.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REMEDY = "give the labels anew with `movie-ranking versions`, or remove the file"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of the versions of a folder; each change makes new ones.

    Attributes:
      labels: version by label.
      canary_share: share of the users who get the canary, 0 to 1.
      history: the versions that were stable before, the latest last.
    """

    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    canary_share: float = DEFAULT_CANARY_SHARE
    history: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Checks what was given.

        Raises:
          UserError: a name, a version or the share cannot be, or there is a canary without a stable version.
        """
        for name, version in self.labels.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise UserError(
                    "expected a label of up to 64 letters, digits, dots, dashes and underscores, the first a letter or "
                    f"a digit; got {name!r}"
                )
            _check_version(version, f"under label {name!r}")
        for version in self.history:
            _check_version(version, "in the history")
        share = self.canary_share
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise UserError(f"expected a share of the users from 0 to 1 for the canary; got {share!r}")
        if CANARY in self.labels and STABLE not in self.labels:
            raise UserError(
                f"expected a stable version beside the canary, {self.labels[CANARY]}, for all other users; got none; "
                "name one with `movie-ranking versions promote VERSION`"
            )

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Labels:
        """The labels of a folder of versions; none where nobody gave any.

        Args:
          folder: of the versions, on this machine.

        Raises:
          UserError: the file is damaged, or cannot be read.
        """
        path = pathlib.Path(folder) / LABELS_FILE
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"expected labels in {path}; got: {error}; {_REMEDY}") from error
        try:
            return cls._of(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise UserError(f"expected labels in {path}; it is damaged: {error}; {_REMEDY}") from error

    @classmethod
    def _of(cls, record: Any) -> Labels:
        if not isinstance(record, dict):
            raise UserError(f"expected labels, canary_share and history by name; got {record!r}")
        if unknown := record.keys() - {field.name for field in dataclasses.fields(cls)}:
            raise UserError(f"expected labels, canary_share and history; got {', '.join(sorted(unknown))}")
        labels, history = record.get("labels", {}), record.get("history", [])
        if not isinstance(labels, dict) or not isinstance(history, list):
            raise UserError(f"expected versions by label, and a list of them; got {labels!r} and {history!r}")
        share = record.get("canary_share", DEFAULT_CANARY_SHARE)
        return cls(labels=labels, canary_share=share, history=tuple(history))

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Replaces the labels of a folder of versions in one step; they are on the disk afterwards.

        Raises:
          OSError: the folder cannot be written to, or is full; the old labels stay.
        """
        record = {"labels": dict(self.labels), "canary_share": self.canary_share, "history": list(self.history)}
        atomic.write_text(pathlib.Path(folder) / LABELS_FILE, json.dumps(record, indent=2) + "\n")

    def version_for(self, user_id: str | None) -> int | None:
        """The version for a request that names none.

        Args:
          user_id: of whom it is about; None of nobody, who never gets the canary. In any spelling.

        Returns:
          the canary for its share of the users, and else the stable version; None, if no version is stable: the newest.
        """
        if user_id is not None and CANARY in self.labels and self._tries_canary(user_id):
            return self.labels[CANARY]
        return self.labels.get(STABLE)

    def _tries_canary(self, user_id: str) -> bool:
        """Whether a user is among the canary's: the same in every process, and still so when the share grows.

        Where a user stands is drawn anew for each version, so that it is not always the same people who try them.
        """
        key = str(self.labels[CANARY]).encode()
        content = normalize(user_id).encode(errors="surrogatepass")
        place = int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key).digest(), "big")
        return place < self.canary_share * 2**64

    def promoted(self, version: int, known: Collection[int]) -> Labels:
        """Makes a version the stable one; nothing is canary any more.

        Args:
          version: a number.
          known: the versions that can be served.

        Raises:
          UserError: it cannot be served.
        """
        _check_known(version, known)
        before = self.labels.get(STABLE)
        history = self.history if before in (None, version) else (*self.history, before)
        labels = {name: each for name, each in self.labels.items() if name != CANARY}
        return dataclasses.replace(self, labels={**labels, STABLE: version}, history=history[-MOST_REMEMBERED:])

    def rolled_back(self, known: Collection[int]) -> Labels:
        """Makes the version the stable one that was it before, and still can be served.

        Args:
          known: the versions that can be served.

        Raises:
          UserError: there is none.
        """
        now = self.labels.get(STABLE)
        left = [version for version in self.history if version in known and version != now]
        if not left:
            raise UserError(
                f"expected a version that was stable before {now or 'now'}, and is still there; got none; "
                "name one with `movie-ranking versions promote VERSION`"
            )
        return dataclasses.replace(self, labels={**self.labels, STABLE: left[-1]}, history=tuple(left[:-1]))

    def labelled(self, name: str, version: int, known: Collection[int], share: float | None = None) -> Labels:
        """Gives a version a label, and the canary its share.

        Args:
          name: of the label; whatever had it has it no more.
          version: a number.
          known: the versions that can be served.
          share: of the users who get the canary; None leaves it as it is.

        Raises:
          UserError: it cannot be served, or name and share do not go together.
        """
        _check_known(version, known)
        if share is not None and name != CANARY:
            raise UserError(f"expected a share for the label {CANARY}; got one for {name!r}; leave out --share")
        if name == STABLE:
            # The one way to a new stable version, so that the history is complete.
            raise UserError(f"expected another label than {STABLE}; give it with `movie-ranking versions promote`")
        share = self.canary_share if share is None else share
        return dataclasses.replace(self, labels={**self.labels, name: version}, canary_share=share)

    def unlabelled(self, name: str) -> Labels:
        """Takes a label away; without a stable version, servers take the newest.

        Raises:
          UserError: no version has it, or it is the stable one's beside a canary.
        """
        if name not in self.labels:
            given = ", ".join(self.labels) or "none"
            raise UserError(f"expected a label that a version has: {given}; got {name!r}")
        history = (*self.history, self.labels[STABLE])[-MOST_REMEMBERED:] if name == STABLE else self.history
        labels = {each: version for each, version in self.labels.items() if each != name}
        return dataclasses.replace(self, labels=labels, history=history)

    def of_version(self, version: int) -> list[str]:
        """The labels of a version, in alphabetical order."""
        return sorted(name for name, each in self.labels.items() if each == version)


def _check_version(version: Any, where: str) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= _MOST:
        raise UserError(f"expected a version from 0 to {_MOST} {where}; got {version!r}")


def _check_known(version: int, known: Collection[int]) -> None:
    if version not in known:
        there = ", ".join(map(str, sorted(known))) or "none"
        raise UserError(f"expected one of the versions that can be served: {there}; got {version}")
