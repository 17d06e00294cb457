"""ServableValidator: gives the infra blessing to a model that a fresh process can load and query."""

import json
import os
import subprocess
import sys

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import path_utils

BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
PROBE_TIMEOUT_S = 600


def probe_in_fresh_process(model_path: str, rating_low: float, rating_high: float) -> list[str]:
    """What does not hold of the exported model, in words; empty if it is servable. See `servable_probe`."""
    command = [sys.executable, "-m", "components.servable_probe", model_path]
    command += ["--low", str(rating_low), "--high", str(rating_high)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return [f"the model did not answer within {PROBE_TIMEOUT_S} s"]
    if done.returncode:
        return [f"the process that loaded the model ended with {done.returncode}: {done.stderr.strip()[-2000:]}"]
    return json.loads(done.stdout.splitlines()[-1])["failures"]


@component
def ServableValidator(
    model: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    rating_low: Parameter[float],
    rating_high: Parameter[float],
    code: Parameter[str],
) -> None:
    """Blesses a model whose every signature answers rightly in a fresh process; needs no Docker.

    The reasons against a model are in the blessing's file, one a line.

    Args:
      model: what Trainer exported.
      blessing: where the blessing goes; Pusher reads it.
      rating_low: lowest rating of the scale.
      rating_high: highest rating of the scale.
      code: fingerprint of this component's code, so that an edit invalidates the cache.
    """
    del code
    failures = probe_in_fresh_process(path_utils.serving_model_path(model.uri), rating_low, rating_high)
    blessing.set_int_custom_property("blessed", 0 if failures else 1)
    blessing.set_int_custom_property("has_model", 0)
    name = NOT_BLESSED_FILE if failures else BLESSED_FILE
    with fileio.open(os.path.join(blessing.uri, name), "w") as file:
        file.write("\n".join(failures))
