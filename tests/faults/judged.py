"""What ML Metadata says of what lies in an output folder."""

from __future__ import annotations

import json
import pathlib
import shutil
import tempfile

import ml_metadata
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from components import model_digest, pushed_versions
from pipeline.local.pushed import Pushed
from tests.faults.verdicts import Failure

_DATABASE = "metadata.sqlite"


def _artifacts(output: pathlib.Path, type_name: str) -> list:
    with tempfile.TemporaryDirectory() as folder:
        # Of a copy, since whoever opens a database first mends what a killed process left of it.
        for path in output.glob(f"{_DATABASE}*"):
            shutil.copy(path, folder)
        connection = metadata.sqlite_metadata_connection_config(f"{folder}/{_DATABASE}")
        store = ml_metadata.MetadataStore(connection)
        return sorted(store.get_artifacts_by_type(type_name), key=lambda artifact: artifact.id)


def digests(output: pathlib.Path) -> set[str]:
    """The digests of all models that got a blessing of Evaluator."""
    blessings = _artifacts(output, standard_artifacts.ModelBlessing.TYPE_NAME)
    return {
        each.custom_properties[model_digest.PROPERTY].string_value
        for each in blessings
        if each.custom_properties["blessed"].int_value
    }


def served_version(output: pathlib.Path) -> str:
    """The version that servers take.

    Raises:
      Failure: there is none; it is not what was judged and pushed, or not what the last run named.
    """
    version = pushed_versions.newest(str(output / "serving_model"))
    named = json.loads((output / "last_run.json").read_text("utf-8"))["pushed_path"]
    if version is None or named != version:
        raise Failure(f"the run named {named}; servers take {version}")
    pushed = [Pushed.of(each) for each in _artifacts(output, standard_artifacts.PushedModel.TYPE_NAME)]
    latest = [each for each in pushed if each and each.version == version]
    if not latest:
        raise Failure(f"no push of {version} is recorded")
    if fault := pushed_versions.fault(version, latest[-1].digest):
        raise Failure(fault)
    if latest[-1].digest not in digests(output):
        raise Failure(f"{version} is none of the models that were judged")
    return version


def check_versions_are_whole(output: pathlib.Path) -> None:
    """Checks each version that servers see, as after a push that was disturbed.

    Raises:
      Failure: one is not a model that was judged.
    """
    found = pushed_versions.versions(str(output / "serving_model"))
    for version in found.values():
        if not (pathlib.Path(version) / "saved_model.pb").exists():
            raise Failure(f"servers see half a version, {version}")
        if model_digest.of_folder(version) not in digests(output):
            raise Failure(f"servers see {version}, which is none of the models that were judged")
