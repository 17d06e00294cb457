"""The part of the configuration that only a cluster reads: image, resources, retries, identity, Vertex variants."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Annotated

import pydantic

from modules.errors import UserError
from pipeline.config import cloud_names

Project = Annotated[str, pydantic.AfterValidator(cloud_names.PROJECT.check)]
Region = Annotated[str, pydantic.AfterValidator(cloud_names.REGION.check)]
# The key of `ClusterConfig.components` whose values hold for every component that has none of its own.
EVERY_COMPONENT = "all"


class ComponentSettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What one component gets; what is left out is the platform's default."""

    cpu: float | None = pydantic.Field(None, gt=0, description="most CPU cores")
    memory_gb: float | None = pydantic.Field(None, gt=0, description="most memory, 10^9 bytes")
    accelerator: str | None = pydantic.Field(None, description="such as NVIDIA_TESLA_T4, or nvidia.com/gpu on Kubeflow")
    accelerators: int = pydantic.Field(1, gt=0, description="how many accelerators, where one is named")
    retries: int | None = pydantic.Field(None, ge=0, description="how often a failed task is tried again")
    retry_delay_s: int = pydantic.Field(60, ge=0, description="seconds before the first retry; doubled for each more")
    cache: bool | None = pydantic.Field(None, description="overrules `cache` of the pipeline for this component")


class TrainingJobConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Machines of a Vertex custom training job."""

    workers: int = pydantic.Field(1, gt=0, description="machines that train together, by trainer.strategy multi_worker")

    machine_type: str = pydantic.Field("n1-standard-8", description="Compute Engine machine type")
    accelerator: str | None = pydantic.Field(None, description="such as NVIDIA_TESLA_T4")
    accelerators: int = pydantic.Field(1, gt=0, description="how many accelerators, where one is named")


class EndpointConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A Vertex endpoint that a blessed model is deployed to."""

    name: str = pydantic.Field(description="display name of the endpoint; made where there is none")
    serving_image: str | None = pydantic.Field(
        None,
        description="container that serves the model, of the TensorFlow that exports it or newer; has to be given",
    )
    machine_type: str = pydantic.Field("n1-standard-4", description="Compute Engine machine type of a replica")
    max_replicas: int = pydantic.Field(1, gt=0, description="most replicas")
    folder_too: bool = pydantic.Field(True, description="push to the folder of pushed models as well")

    @pydantic.model_validator(mode="after")
    def _check(self) -> EndpointConfig:
        """An older TensorFlow may not know what a newer one exports; Vertex's own containers end at 2.15."""
        exporting = importlib.metadata.version("tensorflow")
        prebuilt = re.search(r"/prediction/tf2-\w+\.2-(\d+)", self.serving_image or "")
        if self.serving_image is None or (prebuilt and int(prebuilt[1]) < int(exporting.split(".")[1])):
            raise UserError(
                f"expected a container in cluster.endpoint.serving_image that serves models of TensorFlow {exporting}; "
                f"got {self.serving_image}; Vertex AI has prebuilt ones up to TensorFlow 2.15: build an image on "
                f"tensorflow/serving:{exporting}, or a newer one, that answers at Vertex's AIP_HTTP_PORT and "
                "AIP_PREDICT_ROUTE, push it to Artifact Registry, and name it"
            )
        return self


class ClusterConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How the pipeline is run on Vertex AI or Kubeflow Pipelines."""

    image: str | None = pydantic.Field(None, description="container image with movie-ranking installed")
    project: Project | None = pydantic.Field(None, description="Google Cloud project, which Vertex jobs are billed to")
    region: Region | None = pydantic.Field(None, description="Google Cloud region, such as europe-west4")
    components: dict[str, ComponentSettings] = pydantic.Field(
        default_factory=dict,
        description=f"resources, retries and caching by component; `{EVERY_COMPONENT}` for the rest",
    )
    labels: dict[str, str] = pydantic.Field(default_factory=dict, description="labels of the job")
    service_account: str | None = pydantic.Field(None, description="e-mail address of the account that tasks run as")
    network: str | None = pydantic.Field(None, description="VPC network that Vertex peers with, projects/…/networks/…")
    encryption_key: str | None = pydantic.Field(
        None, description="Cloud KMS key of the job (CMEK), projects/…/cryptoKeys/…"
    )
    training_job: TrainingJobConfig | None = pydantic.Field(
        None, description="train in a Vertex custom training job of its own"
    )
    endpoint: EndpointConfig | None = pydantic.Field(None, description="deploy a blessed model to a Vertex endpoint")

    @pydantic.model_validator(mode="after")
    def _check(self) -> ClusterConfig:
        needy = [name for name in ("training_job", "endpoint") if getattr(self, name) is not None]
        if needy and not (self.project and self.region):
            raise UserError(f"{', '.join(needy)} need cluster.project and cluster.region; give --project and --region")
        return self

    @property
    def pushes_to_folder(self) -> bool:
        """Whether a blessed model goes to the folder of pushed models."""
        return self.endpoint is None or self.endpoint.folder_too

    def settings(self, component: str) -> ComponentSettings:
        """What a component gets: its own settings over those of every component."""
        common, own = self.components.get(EVERY_COMPONENT), self.components.get(component)
        layers = [each.model_dump(exclude_unset=True) for each in (common, own) if each is not None]
        return ComponentSettings(**{key: value for layer in layers for key, value in layer.items()})
