"""The key that requests must bring, where the server was given one."""

from __future__ import annotations

import base64
import hmac
import pathlib

from modules.errors import UserError
from pipeline.serving.errors import Code, RequestError

_LEAST_CHARACTERS = 16
_BEARER, _BASIC = "bearer ", "basic "


class ApiKey:
    """A key that is compared in a time that does not tell how much of it was right."""

    def __init__(self, key: str) -> None:
        """Takes the key."""
        self._key = key.encode()

    @classmethod
    def read(cls, path: str) -> ApiKey:
        """Reads a key from a file; white space around it does not count.

        Raises:
          UserError: there is none, or it is too short.
        """
        try:
            key = pathlib.Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"expected a key in {path}; got: {error}; give another file to --api-key-file") from error
        if len(key) < _LEAST_CHARACTERS:
            raise UserError(
                f"expected a key of {_LEAST_CHARACTERS} characters or more in {path}; got {len(key)}; make one with "
                "`openssl rand -hex 32`"
            )
        return cls(key)

    def check(self, key: str | None, authorization: str | None) -> None:
        """Refuses a request without the key.

        Args:
          key: what `X-API-Key` says.
          authorization: what `Authorization` says.

        Raises:
          RequestError: it is another one, or none.
        """
        given = key
        if given is None and authorization and authorization.lower().startswith(_BEARER):
            given = authorization[len(_BEARER) :].strip()
        if given is None and authorization and authorization.lower().startswith(_BASIC):
            given = _password(authorization[len(_BASIC) :].strip())
        if given is None or not hmac.compare_digest(given.encode(errors="surrogateescape"), self._key):
            raise RequestError(
                Code.UNAUTHENTICATED,
                "expected the key of this server in X-API-Key, or as a Bearer token or a password in Authorization; "
                f"got {'none' if given is None else 'another one'}",
            )


def _password(credentials: str) -> str | None:
    """The password of a browser, which asks people for it; None of what is no such credentials."""
    try:
        _, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return None
    return password if colon else None
