"""What a request is refused with: the codes of gRPC, and the HTTP status that TensorFlow Serving gives for each."""

from __future__ import annotations

import enum


class Code(enum.Enum):
    """Codes of gRPC: number, and HTTP status."""

    INVALID_ARGUMENT = (3, 400)
    DEADLINE_EXCEEDED = (4, 504)
    NOT_FOUND = (5, 404)
    # TensorFlow Serving never refuses a body for its size; HTTP has a status for it.
    RESOURCE_EXHAUSTED = (8, 413)
    FAILED_PRECONDITION = (9, 400)
    UNIMPLEMENTED = (12, 501)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    DATA_LOSS = (15, 500)
    UNAUTHENTICATED = (16, 401)

    @property
    def number(self) -> int:
        """The number of the code in gRPC."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        """The HTTP status of an answer that says so."""
        return self.value[1]


class RequestError(Exception):
    """A request that cannot be answered; the message goes to whoever asked.

    Attributes:
      code: why.
    """

    def __init__(self, code: Code, message: str) -> None:
        """Takes the reason, and what to say about it."""
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[RequestError], tuple[Code, str]]:
        """What makes it anew in another process."""
        return type(self), (self.code, str(self))


def invalid(message: str) -> RequestError:
    """A request that is wrong whatever the state of the server."""
    return RequestError(Code.INVALID_ARGUMENT, message)


class VersionError(Exception):
    """A pushed version that cannot be taken into service; the message goes into its status.

    Attributes:
      code: why.
    """

    def __init__(self, code: Code, message: str) -> None:
        """Takes the reason, and what to say about it."""
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[VersionError], tuple[Code, str]]:
        """What makes it anew in another process."""
        return type(self), (self.code, str(self))
