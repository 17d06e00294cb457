"""ServableValidator: gives the infra blessing to a model that a fresh process can load and query.

TFX's InfraValidator starts TensorFlow Serving in Docker or Kubernetes, and asks whether requests are answered, not what
the answers are. Here a process of its own loads the model with TensorFlow, which needs neither, and every answer is
checked; see `pipeline.serving.servable_probe`.

It cannot tell whether a certain release of TensorFlow Serving loads the model.
"""

import os

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import model_digest, probe_process

BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"


@component
def ServableValidator(
    model: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    rating_low: Parameter[float],
    rating_high: Parameter[float],
    code_fingerprint: Parameter[str],
) -> None:
    """Blesses a model whose every signature answers rightly in a fresh process; needs no Docker.

    The reasons against a model are in the blessing's file, one a line. The blessing names the digest of the model.

    Args:
      model: what Trainer exported.
      blessing: where the blessing goes; Pusher reads it.
      rating_low: lowest rating of the scale.
      rating_high: highest rating of the scale.
      code_fingerprint: of this component's code, so that an edit invalidates the cache.

    Raises:
      IntegrityError: the model has no files, or they changed meanwhile.
      ProbeError: there was no answer. That is no verdict: the component fails, and the next run asks again.
    """
    del code_fingerprint
    folder = path_utils.serving_model_path(model.uri)
    digest = model_digest.of_folder(folder)
    failures = probe_process.probe(folder, rating_low, rating_high)
    model_digest.check(folder, digest)
    blessing.set_string_custom_property(model_digest.PROPERTY, digest)
    blessing.set_int_custom_property("blessed", 0 if failures else 1)
    blessing.set_int_custom_property("has_model", 0)
    name = NOT_BLESSED_FILE if failures else BLESSED_FILE
    with fileio.open(os.path.join(blessing.uri, name), "w") as file:
        file.write("\n".join(failures))
