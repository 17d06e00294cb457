"""A task on open-source Kubeflow Pipelines: TFX's entry point, given what it expects.

TFX's own entry point was made for Vertex AI. Kubeflow's launcher hands a task other things (docs/kubeflow.md), and this
module, which the jobs for Kubeflow name in its place, makes up for them. It is started with the arguments of TFX's and,
for each artifact, the folder where the launcher puts it or takes it from.

It imports neither TFX nor TensorFlow itself.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

Json = dict[str, Any]
Folders = Mapping[str, str]

COMMAND = ("python", "-m", "pipeline.cluster.kubeflow_task")
TFX_ENTRY_POINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_INPUT_FLAG, _OUTPUT_FLAG = "--input_folder", "--output_folder"
_GIVEN_FLAG, _TYPES_FLAG = "--json_serialized_invocation_args", "--json_serialized_inputs_spec_args"


def folder_arguments(inputs: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """The arguments that this module takes beside TFX's; the launcher replaces the placeholders by folders.

    Args:
      inputs: keys of the artifacts that the component takes.
      outputs: keys of the artifacts that it makes.
    """
    arguments = []
    for flag, side, keys in ((_INPUT_FLAG, "inputs", inputs), (_OUTPUT_FLAG, "outputs", outputs)):
        for key in keys:
            arguments += [flag, key, f"{{{{$.{side}.artifacts['{key}'].path}}}}"]
    return arguments


def with_types_and_folders(given: Json, inputs_spec: Json, inputs: Folders, outputs: Folders) -> Json:
    """What TFX's entry point is told of a task in place of what the launcher told.

    Artifacts have the types that the job was compiled with, are in folders of this container, and are those of the
    component alone.

    Args:
      given: an ExecutorInput as JSON, of one artifact a key.
      inputs_spec: the component's ComponentInputsSpec as JSON.
      inputs: folder by key of what the component takes.
      outputs: folder by key of what it makes.

    Raises:
      RuntimeError: a key has not exactly one artifact.
    """
    told = copy.deepcopy(given)
    for side, folders in (("inputs", inputs), ("outputs", outputs)):
        artifacts = told.setdefault(side, {}).setdefault("artifacts", {})
        # Kubeflow adds one for its own log, of a type that TFX does not know.
        told[side]["artifacts"] = {key: artifacts[key] for key in artifacts if key in folders}
        for key, folder in folders.items():
            _only(artifacts, key)["uri"] = folder
    for key in inputs:
        # Of an input it tells an empty type.
        _only(told["inputs"]["artifacts"], key)["type"] = inputs_spec["artifacts"][key]["artifactType"]
    return told


def with_uris(written: Json, given: Json, inputs: Folders, outputs: Folders) -> Json:
    """What the launcher is told of the outputs: URIs, where TFX's entry point wrote folders of this container.

    Args:
      written: an ExecutorOutput as JSON.
      given: see `with_types_and_folders`.
      inputs: as there.
      outputs: as there.
    """
    told = copy.deepcopy(written)
    uris = {
        folder: _only(given[side]["artifacts"], key)["uri"]
        for side, folders in (("inputs", inputs), ("outputs", outputs))
        for key, folder in folders.items()
    }
    for key, made in outputs.items():
        artifact = _only(told["artifacts"], key)
        artifact["uri"] = uris[made]
        for name, value in artifact.get("metadata", {}).items():
            for folder, uri in uris.items():
                if isinstance(value, str) and (value == folder or value.startswith(f"{folder}/")):
                    artifact["metadata"][name] = uri + value[len(folder) :]
    return told


def _only(artifacts: Json, key: str) -> Json:
    found = artifacts.get(key, {}).get("artifacts", [])
    if len(found) != 1:
        raise RuntimeError(f"expected one artifact {key}; got {len(found)}")
    return found[0]


def main(arguments: Sequence[str]) -> NoReturn:
    """Runs a task to its end, and ends the process.

    Args:
      arguments: those of TFX's entry point, and those of `folder_arguments`, placeholders replaced.

    Raises:
      SystemExit: TFX's entry point ended with an exit code that is not 0.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument(_GIVEN_FLAG, dest="given", type=json.loads, required=True)
    parser.add_argument(_TYPES_FLAG, dest="inputs_spec", type=json.loads, required=True)
    parser.add_argument(_INPUT_FLAG, dest="inputs", nargs=2, action="append", default=[])
    parser.add_argument(_OUTPUT_FLAG, dest="outputs", nargs=2, action="append", default=[])
    own, others = parser.parse_known_args(arguments)
    inputs, outputs = dict(own.inputs), dict(own.outputs)

    told = with_types_and_folders(own.given, own.inputs_spec, inputs, outputs)
    for folder in (*inputs.values(), *outputs.values()):
        # In a bucket every folder exists, and none is copied that holds no file.
        os.makedirs(folder, exist_ok=True)
    texts = {_GIVEN_FLAG: json.dumps(told), _TYPES_FLAG: json.dumps(own.inputs_spec)}
    sys.argv = [TFX_ENTRY_POINT, *others, *(part for pair in texts.items() for part in pair)]
    try:
        runpy.run_module(TFX_ENTRY_POINT, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    path = own.given["outputs"]["outputFile"]
    with open(path, encoding="utf-8") as file:
        written = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(with_uris(written, own.given, inputs, outputs), file)
    # All is written. Libraries of TFX have been seen to abort the process while Python ends, and the task with it.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
