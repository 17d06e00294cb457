"""What only a cluster reads."""

from __future__ import annotations

import importlib.metadata

import pydantic
import pytest

from pipeline.config.cluster_config import EndpointConfig

PREBUILT = "us-docker.pkg.dev/vertex-ai/prediction/tf2-{device}.2-{minor}:latest"


@pytest.fixture(params=["2.16.2", "2.21.0"])
def exporting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The TensorFlow of each lane."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"tensorflow": request.param}[name])
    return request.param


@pytest.mark.parametrize(
    "image", [None, PREBUILT.format(device="cpu", minor=15), PREBUILT.format(device="gpu", minor=9)]
)
def test_a_container_older_than_the_model_is_refused(exporting: str, image: str | None) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        EndpointConfig(name="films", serving_image=image)
    message = str(caught.value)
    assert f"serves models of TensorFlow {exporting}; got {image};" in message
    assert f"tensorflow/serving:{exporting}" in message


@pytest.mark.parametrize("image", [PREBUILT.format(device="cpu", minor=21), "europe-docker.pkg.dev/p/r/serving:1"])
def test_a_container_as_new_as_the_model_or_of_ones_own_is_taken(exporting: str, image: str) -> None:
    assert EndpointConfig(name="films", serving_image=image).serving_image == image
