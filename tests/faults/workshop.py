"""What cases begin with and are compared with: data, sources of data, and output folders of undisturbed runs.

Artifacts know their absolute paths. An output folder is therefore kept aside, and put back in one and the same place
for each case.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import random
import shutil
import zipfile
from collections.abc import Sequence

import numpy as np

from components import model_digest, pushed_versions
from data import synthetic
from modules import features
from movie_ranking_main import PACKAGES
from pipeline.exit_codes import ExitCode
from pipeline.local.pushed_model import PushedModel
from tests.conftest import ROOT
from tests.faults.commands import TRACE, Command, Ended
from tests.faults.verdicts import Failure

ROWS, USERS, TITLES = 3_000, 60, 100
# What every run is given: no model is refused for what it is worth, nor for what another is worth.
_BLESS_ANY = {
    "evaluator.rmse_bound": 9,
    "evaluator.baseline": "none",
    "evaluator.lists_baseline": "none",
    "evaluator.max_regression": 9,
    "evaluator.max_ndcg_regression": 1,
}
_SHORT = {
    "notebook": {"epochs": 1},
    "fast": {"epochs": 1, "steps": 4},
    "default": {"iterations": 30, "burn_in": 4, "tolerance": 0, "pilot_iterations": 24, "pilot_burn_in": 4},
}
PRESETS = tuple(_SHORT)
# How far an output folder was brought before a case: the stage it was brought on from, and more arguments of the run.
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "transformed": ("nothing", ("--to", "Transform")),
    "judged": ("transformed", ("--to", "Evaluator")),
    "probed": ("nothing", ("--to", "ServableValidator")),
    "done": ("probed", ()),
    "done otherwise": ("nothing", ("--seed", "7")),
    "done twice": ("done otherwise", ()),
}
_SOURCE_ROWS = 120_000
_ASKED_USERS, _ASKED_TITLES = 8, 25


@dataclasses.dataclass(frozen=True)
class Reference:
    """What an undisturbed run came to.

    Attributes:
      digest: of the pushed model.
      answers: its predictions, stars.
      seconds: by component, and before the first one under "start".
    """

    digest: str
    answers: np.ndarray
    seconds: dict[str, float]


class Workshop:
    """A folder in which cases are tried."""

    def __init__(self, folder: pathlib.Path, presets: Sequence[str] = PRESETS) -> None:
        """Makes the folder.

        Args:
          folder: where to work; what is made once, such as outputs of undisturbed runs, is found there again.
          presets: those that runs may have.
        """
        self.folder, self.presets = folder.resolve(), presets
        self.data, self.output = self.folder / "work" / "data", self.folder / "work" / "output"
        self.prepared = self.folder / "work" / "prepared"
        self.log = self.folder / "case.log"
        self._kept = self.folder / "undisturbed" / _code_digest()
        self._kept.mkdir(parents=True, exist_ok=True)
        self.data.parent.mkdir(exist_ok=True)
        self._references: dict[str, Reference] = {}

    def clear(self) -> None:
        """Removes what the last case left."""
        shutil.rmtree(self.data.parent)
        self.data.parent.mkdir()
        self.log.write_bytes(b"")

    # Commands.

    def start(self, *arguments: str | os.PathLike[str], changes: str = "") -> Command:
        """Starts a command; what it writes goes to the log of the case."""
        return Command(arguments, log=self.log, scratch=self.folder / "work" / "tmp", changes=changes)

    def command(self, *arguments: str | os.PathLike[str], changes: str = "") -> Ended:
        """Runs a command to its end.

        Raises:
          Failure: it hangs, or shows a trace.
        """
        return checked(self.start(*arguments, changes=changes).wait())

    def run_arguments(self, preset: str) -> tuple[str, ...]:
        """The arguments of a run with short training."""
        values = _BLESS_ANY | {f"trainer.model.{name}": value for name, value in _SHORT[preset].items()}
        settings = (word for name, value in values.items() for word in ("--set", f"{name}={value}"))
        return ("run", "--data", str(self.data), "--output", str(self.output), "--preset", preset, *settings)

    # Runs.

    def restore_data(self) -> None:
        """Puts the data in their place, as they were."""
        kept = self._kept / "data"
        if not kept.exists():
            synthetic.write(kept, rows=ROWS, users=USERS, titles=TITLES, seed=1, side_features=True, say=lambda _: None)
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(kept, self.data)

    def restore(self, preset: str, stage: str) -> None:
        """Puts the data and an output folder of a stage in their places.

        Args:
          preset: of the run.
          stage: one of STAGES, or "nothing".
        """
        template = self.template(preset, stage)
        self.restore_data()
        # The folder itself may be where a disk is mounted.
        self.output.mkdir(exist_ok=True)
        for left in self.output.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if template is not None:
            shutil.copytree(template, self.output, dirs_exist_ok=True)

    def template(self, preset: str, stage: str) -> pathlib.Path | None:
        """The folder that is kept of a stage, made where it is not there yet; None of the stage "nothing"."""
        if stage == "nothing":
            return None
        kept = self._kept / f"{preset}-{stage}"
        if not kept.exists():
            before, more = STAGES[stage]
            self.restore(preset, before)
            ended = self.command(*self.run_arguments(preset), *more)
            expected = ExitCode.STOPPED_EARLY if "--to" in more else ExitCode.PUSHED
            if ended.code != expected:
                raise RuntimeError(f"an undisturbed run ended with {ended.code}: {ended.output}")
            partial = kept.with_name(f"{kept.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self.output, partial)
            partial.rename(kept)
        return kept

    def reference(self, preset: str) -> Reference:
        """What an undisturbed run of a preset came to."""
        if preset not in self._references:
            done = self.template(preset, "done")
            seconds: dict[str, float] = {}
            for folder in (self.template(preset, "probed"), done):
                record = json.loads((folder / "last_run.json").read_text("utf-8"))
                spent = {name: each["seconds"] for name, each in record["components"].items()}
                spent["start"] = record["seconds"] - sum(spent.values())
                seconds |= {name: max(seconds.get(name, 0.0), each) for name, each in spent.items()}
            version = pushed_versions.newest(str(done / "serving_model"))
            self._references[preset] = Reference(
                model_digest.of_folder(version), self._answers(PushedModel(pathlib.Path(version))), seconds
            )
        return self._references[preset]

    def _answers(self, model: PushedModel) -> np.ndarray:
        """What a model predicts for some users and titles, one of each unknown."""
        ratings, described = (self._column(table) for table in (features.RATINGS, features.TITLES))
        users = [*dict.fromkeys(ratings)][:_ASKED_USERS]
        pairs = [(user, title) for user in [*users, "nobody"] for title in [*described[:_ASKED_TITLES], "Nothing"]]
        return model.predict(*zip(*pairs, strict=True))

    def _column(self, table: features.Table) -> list[str]:
        """The first column of a table of the data, users of ratings or titles."""
        with (self._kept / "data" / table.file).open(encoding="utf-8", newline="") as file:
            return [row[0] for row in csv.reader(file)][1:]

    def check_pushed(self, preset: str) -> None:
        """Checks that what is served is what was judged, answers as an undisturbed run's does, and can be asked.

        Raises:
          Failure: it is not so.
        """
        from tests.faults import judged

        reference = self.reference(preset)
        version = pathlib.Path(judged.served_version(self.output))
        if model_digest.of_folder(str(version)) != reference.digest:
            apart = np.abs(self._answers(PushedModel(version)) - reference.answers).max()
            if not apart <= 1e-6:
                raise Failure(f"answers are {apart:g} stars apart from those of an undisturbed run")
        said: list[str] = []
        answering = PushedModel.latest(str(self.output), said.append)
        if said or answering.path != version:
            raise Failure(f"{answering.path} answers, not {version}: {said}")

    def check_predict(self) -> None:
        """Checks that `predict` takes what is served.

        Raises:
          Failure: it does not.
        """
        user, title = self._column(features.RATINGS)[0], self._column(features.TITLES)[0]
        ended = self.command("predict", "--user", user, "--title", title, "--output", self.output)
        if ended.code or title not in ended.output or "note:" in ended.output:
            raise Failure(f"predict ended with {ended.code}: {ended.last_lines}")

    # Sources of data.

    @functools.cached_property
    def release(self) -> pathlib.Path:
        """A folder in the form of MovieLens 100K, of made-up ratings."""
        folder = self._kept / "ml-100k"
        if not folder.exists():
            partial = folder.with_name("ml-100k.partial")
            shutil.rmtree(partial, ignore_errors=True)
            write_release(partial, rows=_SOURCE_ROWS)
            partial.rename(folder)
        return folder

    @functools.cached_property
    def release_zip(self) -> pathlib.Path:
        """The same as an archive."""
        path = self._kept / "ml-100k.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(self.release.iterdir()):
                packed.write(file, f"ml-100k/{file.name}")
        return path

    def undisturbed(self, name: str, arguments: Sequence[str | os.PathLike[str]], changes: str) -> Tree:
        """What a command makes of nothing in the folder of prepared data, kept under a name."""
        kept = self._kept / name
        if not kept.exists():
            shutil.rmtree(self.prepared, ignore_errors=True)
            ended = self.command(*arguments, changes=changes)
            if ended.code:
                raise RuntimeError(f"an undisturbed command ended with {ended.code}: {ended.output}")
            kept.with_suffix(".seconds").write_text(str(ended.seconds))
            shutil.copytree(self.prepared, kept)
            shutil.rmtree(self.prepared)
        return Tree(kept, float(kept.with_suffix(".seconds").read_text()))


@dataclasses.dataclass(frozen=True)
class Tree:
    """A folder that an undisturbed command made.

    Attributes:
      folder: where it is kept.
      seconds: the command took.
    """

    folder: pathlib.Path
    seconds: float

    def differs_from(self, other: pathlib.Path) -> str:
        """In which way a folder is another than this one, in words; "" if it is the same to the byte."""
        ours, theirs = (
            {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
            for root in (self.folder, other)
        )
        if odd := sorted(map(str, ours.keys() ^ theirs.keys())):
            return f"{', '.join(odd)} in one folder alone"
        changed = [str(name) for name, content in ours.items() if theirs[name] != content]
        return f"{', '.join(changed)} not the same" if changed else ""


def _code_digest() -> str:
    """Of the product's code: what one makes is not what another would have made."""
    digest = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def checked(ended: Ended) -> Ended:
    """A command whose output shows no trace.

    Raises:
      Failure: it does.
    """
    if TRACE in ended.output:
        raise Failure(f"a trace, with code {ended.code}: {ended.last_lines}")
    return ended


def write_release(folder: pathlib.Path, *, rows: int, users: int = 500, titles: int = 800) -> None:
    """Writes made-up ratings in the form of MovieLens 100K.

    Args:
      folder: to make.
      rows: how many ratings, no two of one user and title.
      users: how many users.
      titles: how many titles.
    """
    rng = random.Random(1)
    folder.mkdir(parents=True)
    pairs = rng.sample(range(users * titles), rows)
    lines = (f"{pair // titles + 1}\t{pair % titles + 1}\t{rng.randint(1, 5)}\t{880_000_000 + pair}" for pair in pairs)
    (folder / "u.data").write_text("".join(f"{line}\n" for line in lines))
    films = (f"{item}|Film {item} (1990)|01-Jan-1990||url|0|{item % 2}|{item % 3 % 2}" for item in range(1, titles + 1))
    (folder / "u.item").write_text("".join(f"{line}\n" for line in films), encoding="latin-1")
    (folder / "u.genre").write_text("unknown|0\nAction|1\nComedy|2\n\n")
    people = (f"{user}|{20 + user % 50}|{'MF'[user % 2]}|other|{10_000 + user}" for user in range(1, users + 1))
    (folder / "u.user").write_text("".join(f"{line}\n" for line in people))
