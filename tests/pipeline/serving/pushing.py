"""Pushed versions of models that tests made, as Pusher leaves them."""

from __future__ import annotations

import pathlib
import shutil

from components import model_digest, push_records, pushed_versions


def push(model: str | pathlib.Path, output: pathlib.Path) -> int:
    """Pushes a model below an output folder, with its record, and returns the version."""
    digest = model_digest.of_folder(str(model))
    version = pushed_versions.push(str(model), str(output / "serving_model"), expected=digest)
    return int(pathlib.Path(version).name)


def push_copy(model: str | pathlib.Path, output: pathlib.Path, version: int, recorded: bool = True) -> pathlib.Path:
    """Puts a copy of a model in place as a version of a given number, in one step."""
    base = output / "serving_model"
    partial, place = base / f".pushing-{version}", base / str(version)
    shutil.copytree(model, partial)
    if recorded:
        push_records.write(str(base), version, model_digest.of_folder(str(partial)))
    partial.rename(place)
    return place
