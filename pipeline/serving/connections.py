"""Connections of HTTP clients, of which those that stay silent or slow are closed.

aiohttp waits for the head of a request as long as a client likes. Here a clock runs for each connection unless a
request is being answered: on a new one, or once a request has begun, the whole head has to come within
`head_seconds`; between requests it may be idle for `idle_seconds`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeline.serving.limits import Limits


class Connections:
    """All connections of a server.

    Attributes:
      are_closing: whether answers should be the last on their connection.
    """

    def __init__(self, limits: Limits) -> None:
        """Takes the limits on time."""
        self._limits = limits
        self._open: dict[asyncio.BaseTransport, _Connection] = {}
        self.are_closing = False

    def protocol(self, handler: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """The protocol of a new connection.

        Args:
          handler: makes the one that reads requests and answers them.
        """
        return _Connection(handler(), self._limits, self._open)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """The head of a request has come: no clock runs until it is answered."""
        if transport in self._open:
            self._open[transport].stop_clock()

    def answered(self, transport: asyncio.BaseTransport | None) -> None:
        """The request was answered: the connection may be idle, but not for ever."""
        if transport in self._open:
            self._open[transport].rest()


class _Connection(asyncio.Protocol):
    """Hands everything to the handler, and closes the connection when its clock runs out."""

    def __init__(
        self, handler: asyncio.Protocol, limits: Limits, connections: dict[asyncio.BaseTransport, _Connection]
    ) -> None:
        self._handler, self._limits, self._connections = handler, limits, connections
        self._transport: asyncio.Transport | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._is_idle = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._connections[transport] = self
        self._start_clock(self._limits.head_seconds)
        self._handler.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_clock()
        if self._transport is not None:
            self._connections.pop(self._transport, None)
        self._handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_idle:
            self._is_idle = False
            self._start_clock(self._limits.head_seconds)
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def rest(self) -> None:
        self._is_idle = True
        self._start_clock(self._limits.idle_seconds)

    def stop_clock(self) -> None:
        self._is_idle = False
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _start_clock(self, seconds: float) -> None:
        if self._clock is not None:
            self._clock.cancel()
        if self._transport is not None:
            self._clock = asyncio.get_running_loop().call_later(seconds, self._transport.abort)
