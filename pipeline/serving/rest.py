"""The REST interface, as TensorFlow Serving has it, with health, metrics and a description beside it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote

import numpy as np
from aiohttp import web

from modules import features
from pipeline.serving import example_users, json_values, openapi, signatures
from pipeline.serving.answering import RETRY_AFTER_S, Answering, Call, Question, request_id
from pipeline.serving.connections import Connections
from pipeline.serving.errors import Code, RequestError, invalid
from pipeline.serving.keys import ApiKey
from pipeline.serving.limits import Limits
from pipeline.serving.metrics import CONTENT_TYPE
from pipeline.serving.model import Model
from pipeline.serving.model_info import metadata_json, status_json
from pipeline.serving.signatures import Signature

REQUEST_ID, MODEL_VERSION, MODEL_DIGEST = "X-Request-ID", "X-Model-Version", "X-Model-Digest"
API_KEY = "X-API-Key"
HEALTHY, READY, METRICS, OPENAPI = "/healthz", "/readyz", "/monitoring/prometheus/metrics", "/openapi.json"
# Where a request keeps its `Call`.
CALL: web.RequestKey[Call] = web.RequestKey("call", Call)
# What needs no key: whoever watches the server has none.
_OPEN = (HEALTHY, READY)
# All paths of TensorFlow Serving, in which it does not tell capitals from small letters.
_MODELS = "/{version:[vV]1}/{tail:.*}"
_JSON = "application/json"
_PREDICT = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata)?", re.IGNORECASE | re.ASCII
)
_MOST = 2**63 - 1
# What aiohttp refuses by itself.
_CODES = {404: Code.NOT_FOUND, 405: Code.UNIMPLEMENTED, 413: Code.RESOURCE_EXHAUSTED}
_logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _JsonQuestion(Question[bytes]):
    """A request to `:predict`, or to `:classify` or `:regress`, which no signature answers to."""

    def __init__(self, method: str, body: bytes, number: int | None, label: str | None, limits: Limits) -> None:
        self.number, self.label = number, label
        self._method, self._body, self._limits = method, body, limits
        self._document: dict[str, Any] | None = None

    def _parsed(self) -> dict[str, Any]:
        if self._document is None:
            self._document = json_values.parse(self._body, self._limits)
        return self._document

    def user(self) -> str | None:
        document = self._parsed()
        value = json_values.user_of(document, features.USER_ID.name)
        if isinstance(value, str):
            return value
        return example_users.user_of_example(json_values.user_of(document, signatures.EXAMPLES))

    def read(self, model: Model) -> tuple[Signature, Mapping[str, np.ndarray]]:
        document = self._parsed()
        name = json_values.signature_name(document)
        if self._method != "predict":
            raise signatures.not_of_method(model.signatures, name, self._method)
        signature = signatures.find(model.signatures, name, Code.INVALID_ARGUMENT)
        return signature, json_values.inputs(document, signature, self._limits)

    def write(self, model: Model, signature: Signature, outputs: Mapping[str, np.ndarray]) -> bytes:
        return json_values.answer(outputs, json_values.is_in_rows(self._parsed()))


def routes(answering: Answering) -> list[web.RouteDef]:
    """What the server answers over HTTP, for an application that may have more."""

    async def predict(request: web.Request) -> web.Response:
        match = _PREDICT.fullmatch(request.rel_url.raw_path)
        if match is None:
            raise _malformed(request)
        name, number, label = _spec(match)
        answering.check_name(name)
        try:
            body = await asyncio.wait_for(request.read(), answering.limits.head_seconds)
        except web.RequestPayloadError as error:
            raise invalid(f"expected a body in the encoding that its head names; got: {error}") from error
        except asyncio.TimeoutError:
            raise RequestError(
                Code.DEADLINE_EXCEEDED, f"expected the whole request within {answering.limits.head_seconds:g} s"
            ) from None
        method = match[4].lower()
        question = _JsonQuestion(method, body, number, label, answering.limits)
        answer = await answering.answer(question, request[CALL])
        return web.Response(body=answer, content_type=_JSON)

    async def about(request: web.Request) -> web.Response:
        match = _STATUS.fullmatch(request.rel_url.raw_path)
        if match is None:
            raise _malformed(request)
        if match[1] is None:
            raise invalid("Missing model name in request.")
        name, number, label = _spec(match)
        if match[4]:
            model = answering.holds(name, number, label)
            request[CALL].take(model)
            return _json(metadata_json(answering.name, model))
        return _json(status_json(answering, name, number, label))

    async def malformed(request: web.Request) -> web.Response:
        raise _malformed(request)

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        if not answering.versions.are_ready or request.app[CONNECTIONS].are_closing:
            raise RequestError(Code.UNAVAILABLE, "not ready: no version is in service, or the server is being stopped")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=answering.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def description(_: web.Request) -> web.Response:
        return _json(openapi.document(answering.name, answering.versions.current()))

    return [
        web.get(HEALTHY, healthy),
        web.get(READY, ready),
        web.get(METRICS, metrics),
        web.get(OPENAPI, description),
        web.post(_MODELS, predict),
        web.get(_MODELS, about),
        web.route("*", _MODELS, malformed),
    ]


CONNECTIONS: web.AppKey[Connections] = web.AppKey("connections", Connections)


class Site(Protocol):
    """What else an application answers: pages for people."""

    def routes(self) -> list[web.RouteDef]:
        """Its routes."""

    def is_asked(self, request: web.Request) -> bool:
        """Whether a request is for it, so that a refusal is, too."""

    def refusal(self, request: web.Request, refused: web.StreamResponse, why: str) -> web.Response:
        """A refusal for people.

        Args:
          request: that is refused.
          refused: what programs would get.
          why: in words.
        """


def application(
    answering: Answering, key: ApiKey | None, connections: Connections, site: Site | None = None
) -> web.Application:
    """The application that answers over HTTP; more routes may be added to it.

    Args:
      answering: answers.
      key: that requests must bring; None for none.
      connections: closes those that are slow.
      site: pages beside it; None for none.
    """

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        connections.asked(request.transport)
        call = Call(
            protocol="rest",
            what=f"{request.method} {request.rel_url.raw_path}",
            request_id=request_id(request.headers.get(REQUEST_ID)),
            client=request.remote or "",
        )
        request[CALL] = call
        code, why = "OK", ""
        try:
            if key is not None and request.path not in _OPEN:
                key.check(request.headers.get(API_KEY), request.headers.get("Authorization"))
            response = await handler(request)
        except RequestError as error:
            code, why, response = error.code.name, str(error), _refusal(error)
        except web.HTTPException as error:
            code, why = _CODES.get(error.status, Code.INVALID_ARGUMENT).name, error.reason
            response = _http_refusal(request, error, answering.limits)
        except (asyncio.CancelledError, ConnectionError):
            answering.told(call, "CANCELLED")
            raise
        except Exception:
            _logger.exception("request %s failed", call.request_id)
            code, why = "INTERNAL", "internal error; the log of the server tells more"
            response = _error(500, why)
        if code != "OK" and site is not None and site.is_asked(request):
            response = site.refusal(request, response, why)
        _sign(response, call, answering)
        if connections.are_closing:
            response.force_close()
        if request.path not in _OPEN:
            answering.told(call, code, response.status, getattr(response, "content_length", None))
        connections.answered(request.transport)
        return response

    app = web.Application(middlewares=[tell], client_max_size=answering.limits.body_bytes)
    app[CONNECTIONS] = connections
    app.add_routes(routes(answering))
    if site is not None:
        app.add_routes(site.routes())
    return app


def _sign(response: web.StreamResponse, call: Call, answering: Answering) -> None:
    """Says which request it was, and which version answered, or would have."""
    response.headers[REQUEST_ID] = call.request_id
    response.headers["Server"] = answering.name
    number, digest = answering.version_of(call)
    if number:
        response.headers[MODEL_VERSION], response.headers[MODEL_DIGEST] = number, digest


def _spec(match: re.Match[str]) -> tuple[str, int | None, str | None]:
    """Name, version and label of a path."""
    name, number, label = unquote(match[1]), match[2], match[3]
    if number is not None and (len(number) > len(str(_MOST)) or int(number) > _MOST):
        raise invalid(f"Failed to convert version: {number[:40]} to numeric.")
    return name, None if number is None else int(number), None if label is None else unquote(label)


def _malformed(request: web.Request) -> RequestError:
    return invalid(f"Malformed request: {request.method} {request.rel_url.raw_path}")


def _json(document: Any) -> web.Response:
    return web.Response(body=json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n", content_type=_JSON)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = json.dumps({"error": message}, ensure_ascii=False).encode(errors="replace")
    return web.Response(status=status, body=body, content_type=_JSON, headers=headers)


def _refusal(error: RequestError) -> web.Response:
    headers = {}
    if error.code is Code.UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if error.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return _error(error.code.http_status, str(error), headers)


def _http_refusal(request: web.Request, error: web.HTTPException, limits: Limits) -> web.Response:
    """What aiohttp refuses by itself, in JSON."""
    if error.status == web.HTTPRequestEntityTooLarge.status_code:
        response = _error(error.status, f"expected a body of up to {limits.body_bytes:,} bytes; got more")
        # The rest of the body is not read.
        response.force_close()
        return response
    headers = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
    return _error(error.status, f"{error.reason}: {request.method} {request.rel_url.raw_path}", headers)
