"""Whose fault a ValueError is that comes up while a service is asked."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from modules.errors import UserError
from pipeline.cluster import service_errors

pytest.importorskip("google.cloud.aiplatform", reason="the extra `vertex` is not installed")
pytest.importorskip("kfp", reason="the extra `kfp` is not installed")


def bug() -> None:
    raise ValueError("not enough values to unpack")


def no_json() -> None:
    json.loads("{")


def of_google() -> None:
    from google.cloud import storage

    storage.Client(project="films", credentials=anonymous()).bucket("_films")


def of_kubeflow() -> None:
    from kfp.client.client import validate_pipeline_display_name

    validate_pipeline_display_name(" ")


def anonymous() -> object:
    from google.auth.credentials import AnonymousCredentials

    return AnonymousCredentials()


def asked(client: str, action: Callable[[], None]) -> None:
    errors = {
        "google": service_errors.google_errors("asking"),
        "kubeflow": service_errors.kubeflow_errors("asking", "host"),
    }
    with errors[client]:
        action()


@pytest.mark.parametrize(("client", "action"), [("google", of_google), ("kubeflow", of_kubeflow)])
def test_what_a_client_refuses_is_the_users_to_mend(client: str, action: Callable[[], None]) -> None:
    with pytest.raises(UserError, match=r"^asking: .*name.*; correct what it names and compile or submit again$"):
        asked(client, action)


def test_a_region_that_there_is_not_is_a_message() -> None:
    from pipeline.cluster.vertex_jobs import Jobs

    with pytest.raises(UserError, match=r"^setting up the client: Unsupported region .*; correct what it names"):
        Jobs(project="films", region="nowhere-1", anonymous=True)


@pytest.mark.parametrize("client", ["google", "kubeflow"])
@pytest.mark.parametrize("action", [bug, no_json, lambda: int("five")], ids=["ours", "JSON", "built in"])
def test_any_other_is_a_bug(client: str, action: Callable[[], None]) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        asked(client, action)
    assert not isinstance(raised.value, UserError)


@pytest.mark.parametrize("client", ["google", "kubeflow"])
def test_what_we_refuse_keeps_its_words(client: str) -> None:
    def refuse() -> None:
        raise UserError("expected a job; got none")

    with pytest.raises(UserError, match=r"^expected a job; got none$"):
        asked(client, refuse)
