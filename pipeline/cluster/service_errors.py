"""What a service answered that it should not have, in one line with a remedy and an exit code."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from modules.errors import UserError
from pipeline.exit_codes import ServiceCode

LOGIN = (
    "give Application Default Credentials: `gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS"
)
REMEDIES = {
    ServiceCode.NO_CREDENTIALS: LOGIN,
    ServiceCode.NOT_PERMITTED: "ask for the role, see docs/clusters.md: roles/aiplatform.user on the project, "
    "roles/iam.serviceAccountUser on the service account, roles/storage.objectAdmin on the bucket",
    ServiceCode.OVER_QUOTA: "wait for jobs to end, or ask for more under IAM & Admin > Quotas, or use fewer machines",
    ServiceCode.REFUSED: "correct what it names and compile or submit again",
    ServiceCode.UNREACHABLE: "check the region or host, the network and proxies, and that the service is enabled",
}


class ServiceError(Exception):
    """A service did not do what it was asked.

    Attributes:
      exit_code: which kind of refusal it was.
    """

    def __init__(self, exit_code: ServiceCode, what: str, message: str, remedy: str | None = None) -> None:
        line = " ".join(message.split()) or "no reason was given"
        super().__init__(f"{what}: {line.rstrip('.')}; {remedy or REMEDIES[exit_code]}")
        self.exit_code = exit_code


@contextlib.contextmanager
def google_errors(what: str) -> Iterator[None]:
    """Turns what Google's clients raise into a ServiceError, or a UserError where they refuse it before it is sent.

    Args:
      what: what was asked for, for the message.
    """
    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth_exceptions

    # The first that fits counts.
    kinds: tuple[tuple[tuple[type[Exception], ...], ServiceCode], ...] = (
        ((auth_exceptions.TransportError,), ServiceCode.UNREACHABLE),
        ((auth_exceptions.GoogleAuthError, exceptions.Unauthenticated), ServiceCode.NO_CREDENTIALS),
        ((exceptions.Forbidden,), ServiceCode.NOT_PERMITTED),
        ((exceptions.TooManyRequests,), ServiceCode.OVER_QUOTA),
        (
            (exceptions.ServerError, exceptions.RetryError, requests.RequestException),
            ServiceCode.UNREACHABLE,
        ),
        ((exceptions.ClientError,), ServiceCode.REFUSED),
    )
    every = tuple(each for types, _ in kinds for each in types)
    try:
        yield
    except every as error:
        code = next(code for types, code in kinds if isinstance(error, types))
        raise ServiceError(code, what, _text(error)) from error
    except ValueError as error:
        if not _is_refusal(error, "google"):
            raise
        raise UserError(_refused(what, error)) from error


def _is_refusal(error: ValueError, package: str) -> bool:
    """Whether a client refuses what it was given, such as a name or a label; a fault of other code is a bug.

    Clients have no class of their own for that, so that it is told from where the error was raised.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return type(error) is ValueError and f"{frames[-1].f_globals.get('__name__')}.".startswith(f"{package}.")


def _refused(what: str, error: ValueError) -> str:
    return f"{what}: {' '.join(str(error).split()).rstrip('.')}; {REMEDIES[ServiceCode.REFUSED]}"


def _text(error: Exception) -> str:
    return str(getattr(error, "message", "") or error)


@contextlib.contextmanager
def kubeflow_errors(what: str, host: str) -> Iterator[None]:
    """Turns what Kubeflow's client raises into a ServiceError, or a UserError where it refuses what it was given.

    Args:
      what: what was asked for, for the message.
      host: the service's.
    """
    import kfp_server_api
    import urllib3

    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        raise ServiceError(ServiceCode.UNREACHABLE, what, f"{host}: {error}") from error
    except kfp_server_api.ApiException as error:
        codes = {
            401: ServiceCode.NO_CREDENTIALS,
            403: ServiceCode.NOT_PERMITTED,
            429: ServiceCode.OVER_QUOTA,
        }
        status = error.status or 0
        code = codes.get(status, ServiceCode.UNREACHABLE if status >= 500 or not status else ServiceCode.REFUSED)
        remedy = (
            "ask the cluster's administrator for access to the namespace" if code == ServiceCode.NOT_PERMITTED else None
        )
        raise ServiceError(code, what, f"{status} {_kubeflow_message(error)}", remedy) from error
    except ValueError as error:
        if not _is_refusal(error, "kfp"):
            raise
        raise UserError(_refused(what, error)) from error


def _kubeflow_message(error: Exception) -> str:
    """The message in the body of an answer; never its headers, which may hold cookies."""
    import json

    body = getattr(error, "body", None) or ""
    try:
        answer = json.loads(body)
        return str(answer.get("message") or answer.get("error") or body)
    except (ValueError, AttributeError):
        return str(body or getattr(error, "reason", ""))
