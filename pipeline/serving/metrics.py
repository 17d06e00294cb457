"""What the server counts and measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a quarter of a millisecond to ten seconds.
_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_PREFIX = "movie_ranking"
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class Metrics:
    """The figures of one server.

    Attributes:
      registry: of all of them, to which others may add theirs.
    """

    def __init__(self) -> None:
        """Makes figures that stand at zero."""
        self.registry = CollectorRegistry()
        by = ("protocol", "signature", "version")
        self._requests = Counter(f"{_PREFIX}_requests", "Answered requests.", (*by, "code"), registry=self.registry)
        self._errors = Counter(
            f"{_PREFIX}_errors", "Requests that were refused or failed.", (*by, "code"), registry=self.registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "From the arrival of a request to its answer.",
            by,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._load_failures = Counter(
            f"{_PREFIX}_load_failures", "Versions that could not be taken into service.", registry=self.registry
        )
        self._ends = Counter(
            f"{_PREFIX}_process_ends", "Versions whose process ended by itself.", registry=self.registry
        )
        self._load_seconds = Histogram(
            f"{_PREFIX}_load_seconds",
            "From the first look at a version until it was warmed up.",
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 120),
            registry=self.registry,
        )
        self._looks = Counter(
            f"{_PREFIX}_looks",
            "Looks at the folder of the versions, which go on as long as the server.",
            registry=self.registry,
        )
        self._under_way = Gauge(f"{_PREFIX}_requests_under_way", "Requests under way.", registry=self.registry)
        self._version = Gauge(
            f"{_PREFIX}_version_available", "1 for each version that is loaded.", ("version",), registry=self.registry
        )

    def answered(self, protocol: str, signature: str, version: str, code: str, seconds: float) -> None:
        """Counts an answer.

        Args:
          protocol: "rest" or "grpc".
          signature: that answered; "" for none.
          version: that answered; "" for none.
          code: the name of a status of gRPC, such as OK.
          seconds: that it took.
        """
        self._requests.labels(protocol, signature, version, code).inc()
        if code != "OK":
            self._errors.labels(protocol, signature, version, code).inc()
        self._seconds.labels(protocol, signature, version).observe(seconds)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Adds a figure that is asked for when the figures are.

        Args:
          name: of the figure, without what all names begin with.
          what: it is.
          value: tells it.
        """
        Gauge(f"{_PREFIX}_{name}", what, registry=self.registry).set_function(value)

    def under_way(self, count: int) -> None:
        """Takes how many requests are under way."""
        self._under_way.set(count)

    def loaded(self, version: int, seconds: float) -> None:
        """Counts a version that can be asked, and how long that took."""
        self._version.labels(str(version)).set(1)
        self._load_seconds.observe(seconds)

    def unloaded(self, version: int) -> None:
        """Forgets a version that cannot be asked any more."""
        self._version.remove(str(version))

    def load_failed(self) -> None:
        """Counts a version that could not be taken into service."""
        self._load_failures.inc()

    def ended(self) -> None:
        """Counts a version whose process ended by itself."""
        self._ends.inc()

    def looked(self) -> None:
        """Counts a look at the folder of the versions."""
        self._looks.inc()

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return prometheus_client.generate_latest(self.registry)
