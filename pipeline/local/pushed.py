"""What Pusher recorded of the models that it pushed, and whether that still holds."""

from __future__ import annotations

import dataclasses

from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from components import model_digest, pushed_versions
from components.model_pusher import DESTINATION_PROPERTY
from modules.notes import note
from pipeline.local.run_artifacts import RunArtifacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pushed:
    """A pushed model.

    Attributes:
      version: path of its folder.
      digest: of the model that was judged.
    """

    version: str
    digest: str

    @classmethod
    def of(cls, artifact: metadata_store_pb2.Artifact | None) -> Pushed | None:
        """What is recorded in Pusher's output; None if there is none, or nothing was pushed."""
        if artifact is None or not artifact.custom_properties["pushed"].int_value:
            return None
        names = (DESTINATION_PROPERTY, model_digest.PROPERTY)
        version, digest = (artifact.custom_properties[name].string_value for name in names)
        return cls(version=version, digest=digest)


def all_pushed(artifacts: RunArtifacts) -> list[tuple[metadata_store_pb2.Artifact, Pushed]]:
    """Every model that was pushed, by this run and all before it, with Pusher's output, in the order of the pushes."""
    outputs = artifacts.all_of_type(standard_artifacts.PushedModel.TYPE_NAME)
    return [(output, pushed) for output in outputs if (pushed := Pushed.of(output))]


def is_outdated(artifacts: RunArtifacts) -> bool:
    """Whether Pusher must not take its result from the cache, since that is no longer what servers take.

    If so, it is noted. A model that is not blessed, or was not pushed before, has no such result.

    Args:
      artifacts: of the run, before Pusher.
    """
    blessings = [artifacts.get(judge, "blessing") for judge in ("Evaluator", "ServableValidator")]
    reached = [blessing.custom_properties for blessing in blessings if blessing is not None]
    if not all(properties["blessed"].int_value for properties in reached):
        return False
    judged = {properties[model_digest.PROPERTY].string_value for properties in reached}
    # What was removed on purpose is in no cache either. Where a run begins at Pusher, the latest is meant.
    same_model = [
        pushed
        for output, pushed in all_pushed(artifacts)
        if output.state == metadata_store_pb2.Artifact.LIVE and (not judged or pushed.digest in judged)
    ]
    fault = pushed_versions.fault(same_model[-1].version, same_model[-1].digest) if same_model else None
    if fault:
        note(f"{fault}; the model is pushed again")
    return fault is not None
