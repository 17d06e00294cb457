"""The server: both protocols on their ports, the versions behind them, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import os
import signal
import ssl
from collections.abc import AsyncIterator

import grpc
from aiohttp import web

from modules.errors import UserError
from pipeline.serving import grpc_service, rest
from pipeline.serving.answering import MODEL_NAME, Answering
from pipeline.serving.connections import Connections
from pipeline.serving.journal import Journal
from pipeline.serving.keys import ApiKey
from pipeline.serving.limits import Limits
from pipeline.serving.metrics import Metrics
from pipeline.serving.page.site import Site
from pipeline.serving.request_log import RequestLog
from pipeline.serving.versions import Versions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is started with.

    Attributes:
      output: folder of the pipeline, on this machine.
      name: of the model.
      host: the address that both ports are opened on.
      rest_port: of REST; 0 for any that is free.
      grpc_port: of gRPC; 0 for any that is free.
      certificate: file of the certificate, PEM; None for no TLS.
      key: file of its private key, PEM.
      api_key: that requests must bring; None for none.
      limits: of requests.
      threads: how many requests are worked on at once.
      poll_seconds: how often the server looks for versions.
      request_log: takes a sample of the requests with their answers; None for none. Whoever made it closes it.
      shows_users: whether the page tells what users rated and are recommended.
    """

    output: str
    name: str = MODEL_NAME
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    certificate: str | None = None
    key: str | None = None
    api_key: ApiKey | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)
    threads: int = dataclasses.field(default_factory=lambda: max(2, os.cpu_count() or 1))
    poll_seconds: float = 1.0
    request_log: RequestLog | None = None
    shows_users: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listening:
    """The ports of a server.

    Attributes:
      rest: port of REST.
      grpc: port of gRPC.
    """

    rest: int
    grpc: int


async def serve(settings: Settings, events: Journal, requests: Journal) -> None:
    """Serves until the process is told to stop, by SIGTERM or SIGINT; what is under way is answered first.

    Args:
      settings: of the server.
      events: takes what becomes of the server and its versions.
      requests: takes a line of each request.

    Raises:
      UserError: a port is taken, or a certificate cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, events, requests):
        await stop.wait()
        events.write("stopping")
    events.write("stopped")


@contextlib.asynccontextmanager
async def running(settings: Settings, events: Journal, requests: Journal) -> AsyncIterator[Listening]:
    """A server as long as the context lasts; see `serve`."""
    metrics = Metrics()
    versions = Versions(settings.output, settings.name, events, metrics, settings.poll_seconds, settings.threads)
    answering = Answering(
        versions, settings.name, settings.limits, metrics, requests, settings.threads, settings.request_log
    )
    metrics.watch("log_lines_lost", "Lines of the access log that could not be written.", lambda: requests.lost)
    if log := settings.request_log:
        metrics.watch("logged_requests", "Requests in files of the request log.", lambda: log.written)
        metrics.watch("dropped_requests", "Requests of its sample that are in none.", lambda: log.dropped)
    connections = Connections(settings.limits)
    runner = web.AppRunner(
        rest.application(
            answering, settings.api_key, connections, Site(answering, settings.output, settings.shows_users)
        ),
        access_log=None,
        keepalive_timeout=settings.limits.idle_seconds,
        shutdown_timeout=settings.limits.drain_seconds,
    )
    # What was imported stays, and need not be searched for garbage.
    gc.freeze()
    grpc_server = grpc_service.server(answering, settings.api_key)
    rest_server: asyncio.Server | None = None
    try:
        await runner.setup()
        rest_server = await _listen(runner, connections, settings)
        port = _bind(grpc_server, settings)
        await grpc_server.start()
        ports = Listening(rest=rest_server.sockets[0].getsockname()[1], grpc=port)
        scheme = "https" if settings.certificate else "http"
        events.write("listening", rest=f"{scheme}://{settings.host}:{ports.rest}", grpc=f"{settings.host}:{ports.grpc}")
        versions.start(lambda: events.write("ready"))
        yield ports
    finally:
        connections.are_closing = True
        if rest_server is not None:
            rest_server.close()
        seconds = settings.limits.drain_seconds
        try:
            await asyncio.gather(
                grpc_server.stop(seconds), answering.drain(seconds), asyncio.to_thread(versions.stop, seconds)
            )
            await runner.cleanup()
        finally:
            answering.close()
            versions.close()


async def _listen(runner: web.AppRunner, connections: Connections, settings: Settings) -> asyncio.Server:
    handler = runner.server
    if handler is None:
        raise RuntimeError("expected a runner that is set up")
    tls = None
    if settings.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            tls.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            raise UserError(
                f"expected a certificate in {settings.certificate} and its key in {settings.key}, PEM; got: {error}"
            ) from error
    try:
        return await asyncio.get_running_loop().create_server(
            lambda: connections.protocol(handler),
            settings.host,
            settings.rest_port,
            ssl=tls,
            backlog=1024,
            ssl_handshake_timeout=settings.limits.head_seconds if tls else None,
        )
    except OSError as error:
        raise _taken("--rest-port", settings.host, settings.rest_port, error.strerror or str(error)) from error


def _bind(server: grpc.aio.Server, settings: Settings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if settings.certificate and settings.key:
            with open(settings.certificate, "rb") as certificate, open(settings.key, "rb") as key:
                credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
            port = server.add_secure_port(address, credentials)
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise _taken("--grpc-port", settings.host, settings.grpc_port, str(error)) from error
    if not port:
        raise _taken("--grpc-port", settings.host, settings.grpc_port, "it cannot be bound")
    return port


def _taken(option: str, host: str, port: int, why: str) -> UserError:
    return UserError(f"expected an address that is free; got {host}:{port}: {why}; give another to {option} or --host")
