"""The one way from a request to its answer, whatever the protocol: limits, the choice of a version, the model."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import dataclasses
import functools
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from pipeline.serving import signatures, tensor_protos
from pipeline.serving.errors import Code, RequestError
from pipeline.serving.journal import Journal
from pipeline.serving.limits import Limits
from pipeline.serving.metrics import Metrics
from pipeline.serving.model import Model
from pipeline.serving.request_log import RequestLog
from pipeline.serving.signatures import Signature
from pipeline.serving.versions import Versions

MODEL_NAME = "movie_ranking"
RETRY_AFTER_S = 1
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

Answer = TypeVar("Answer")


@dataclasses.dataclass
class Call:
    """One request as it is logged and counted; what is not known yet is empty.

    Attributes:
      protocol: "rest", "grpc" or "page".
      what: method and path, or the name of the procedure.
      request_id: by which both sides know it.
      client: the address that it came from.
      started: `time.perf_counter()` when it came.
      signature: that answers.
      version: that answers.
      digest: of the version.
    """

    protocol: str
    what: str
    request_id: str
    client: str
    started: float = dataclasses.field(default_factory=time.perf_counter)
    signature: str = ""
    version: str = ""
    digest: str = ""

    def take(self, model: Model) -> None:
        """Notes the version that answers."""
        self.version, self.digest = str(model.number), model.digest


class Question(abc.ABC, Generic[Answer]):
    """What is asked of a model, in a protocol's own form.

    Attributes:
      number: the version that is asked for; None for any.
      label: the label that is asked for; None for any.
    """

    number: int | None = None
    label: str | None = None

    @abc.abstractmethod
    def user(self) -> str | None:
        """Whom it is about, by which the canary is chosen; None for nobody in particular."""

    @abc.abstractmethod
    def read(self, model: Model) -> tuple[Signature, Mapping[str, np.ndarray]]:
        """The signature and its inputs.

        Raises:
          RequestError: the model has no such signature, or it takes other inputs.
        """

    @abc.abstractmethod
    def write(self, model: Model, signature: Signature, outputs: Mapping[str, np.ndarray]) -> Answer:
        """The answer, of all outputs of the signature."""


class Asking:
    """What one request asks of one version.

    Attributes:
      model: that answers.
    """

    def __init__(self, answering: Answering, model: Model, call: Call, deadline: float) -> None:
        """Asks nothing yet.

        Args:
          answering: by whose limits it is answered.
          model: that answers.
          call: gets the first signature.
          deadline: on `time.perf_counter`.
        """
        self.model = model
        self._answering, self._call, self._deadline = answering, call, deadline

    def has(self, name: str) -> bool:
        """Whether the model has a signature."""
        return name in self.model.signatures

    def ask(self, name: str, inputs: Mapping[str, np.ndarray], *, is_list: bool = False) -> dict[str, np.ndarray]:
        """What a signature answers.

        Args:
          name: of the signature.
          inputs: as `Model.run` takes them.
          is_list: whether the answer is shown to somebody as a list of titles, which the log of requests is for.

        Raises:
          RequestError: the model has no such signature, refuses the values, or it takes too long.
        """
        if time.perf_counter() > self._deadline:
            raise _too_late(self._deadline - self._call.started)
        signature = signatures.find(self.model.signatures, name, Code.UNIMPLEMENTED)
        self._call.signature = self._call.signature or name
        outputs = self.model.run(signature, inputs)
        if is_list:
            self._answering.keep(self._call, self.model, signature, inputs, outputs)
        return outputs


def request_id(given: str | None) -> str:
    """The id that whoever asked gave, if it is a sane one; else one of our own."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class Answering:
    """Answers questions in a pool of threads, within limits."""

    def __init__(
        self,
        versions: Versions,
        name: str,
        limits: Limits,
        metrics: Metrics,
        requests: Journal,
        threads: int,
        request_log: RequestLog | None = None,
    ) -> None:
        """Starts no thread yet.

        Args:
          versions: that answer.
          name: of the model, by which it is asked for.
          limits: of requests.
          metrics: take each answer.
          requests: takes a line of each.
          threads: how many requests are worked on at once; the others wait.
          request_log: takes a sample of the requests with their answers; None for none.
        """
        self.versions, self.name, self.limits, self.metrics = versions, name, limits, metrics
        self._requests, self._request_log = requests, request_log
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._under_way = 0

    def check_name(self, name: str) -> None:
        """Refuses the name of another model.

        Raises:
          RequestError: it is one.
        """
        if name != self.name:
            raise RequestError(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")

    def holds(self, name: str, number: int | None, label: str | None) -> Model:
        """The model of a request that only asks about it.

        Raises:
          RequestError: there is no such model or version.
        """
        self.check_name(name)
        with self.versions.lease(number, label, lambda: None) as model:
            return model

    def version_of(self, call: Call) -> tuple[str, str]:
        """Number and digest of the version that answered, or of the one in service where none did; "" without any."""
        if call.version:
            return call.version, call.digest
        model = self.versions.current()
        return ("", "") if model is None else (str(model.number), model.digest)

    async def show(self, view: Callable[[Asking], Answer], user: str | None, call: Call) -> Answer:
        """Answers a request that asks several things of one version, one after another.

        Args:
          view: asks, in a thread of the pool, and gives the answer.
          user: whom it is about, by which the canary is chosen; None for nobody in particular.
          call: gets the version and the first signature.

        Raises:
          RequestError: as in `answer`.
        """

        def work(deadline: float) -> Answer:
            with self._lease(None, None, lambda: user, call, deadline) as model:
                return view(Asking(self, model, call, deadline))

        return await self._in_the_pool(work, call, self.limits.seconds)

    async def answer(self, question: Question[Answer], call: Call, seconds: float | None = None) -> Answer:
        """Answers a question.

        Args:
          question: what is asked.
          call: gets the version and the signature.
          seconds: after which nobody waits any more, if that is before the limit of the server.

        Raises:
          RequestError: it cannot be answered, there are too many others, or it takes too long.
        """
        seconds = self.limits.seconds if seconds is None else min(seconds, self.limits.seconds)
        return await self._in_the_pool(functools.partial(self._work, question, call), call, seconds)

    async def _in_the_pool(self, do: Callable[[float], Answer], call: Call, seconds: float) -> Answer:
        """What a thread of the pool makes of a request, given the time on `time.perf_counter` until which it may."""
        if self._under_way >= self.limits.under_way:
            raise RequestError(
                Code.UNAVAILABLE,
                f"expected up to {self.limits.under_way} requests under way; got more; try again later",
            )
        deadline = call.started + seconds
        self._count(1)
        work = asyncio.get_running_loop().run_in_executor(self._pool, do, deadline)
        # Also where nobody waits any more: what is computed takes its place until it is done.
        work.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(work), deadline - time.perf_counter())
        except asyncio.TimeoutError:
            raise _too_late(seconds) from None

    def _work(self, question: Question[Answer], call: Call, deadline: float) -> Answer:
        with self._lease(question.number, question.label, question.user, call, deadline) as model:
            signature, inputs = question.read(model)
            call.signature = signature.name
            outputs = model.run(signature, inputs)
            answer = question.write(model, signature, outputs)
        self.keep(call, model, signature, inputs, outputs)
        return answer

    @contextlib.contextmanager
    def _lease(
        self, number: int | None, label: str | None, user: Callable[[], str | None], call: Call, deadline: float
    ) -> Iterator[Model]:
        if time.perf_counter() > deadline:
            raise _too_late(deadline - call.started)
        with self.versions.lease(number, label, user) as model:
            call.take(model)
            yield model

    def keep(
        self,
        call: Call,
        model: Model,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
    ) -> None:
        """Offers what was answered to the log of requests, where there is one."""
        if self._request_log is not None:
            self._request_log.offer(
                lambda: tensor_protos.request(self.name, signature, inputs),
                lambda: tensor_protos.response(self.name, model.number, signature, outputs),
                call.request_id,
                model.number,
            )

    def _done(self, work: asyncio.Future) -> None:
        self._count(-1)
        if not work.cancelled():
            # Taken note of, also where nobody waits any more.
            work.exception()

    def _count(self, change: int) -> None:
        self._under_way += change
        self.metrics.under_way(self._under_way)

    def told(self, call: Call, code: str, status: int | None = None, size: int | None = None) -> None:
        """Counts and logs a request that was answered.

        Args:
          call: the request.
          code: the name of a status of gRPC, such as OK.
          status: of HTTP.
          size: of the answer, bytes.
        """
        seconds = time.perf_counter() - call.started
        self.metrics.answered(call.protocol, call.signature, call.version, code, seconds)
        self._requests.write(
            "request",
            request_id=call.request_id,
            client=call.client,
            protocol=call.protocol,
            what=call.what,
            code=code,
            status=status,
            signature=call.signature or None,
            version=call.version or None,
            ms=round(seconds * 1e3, 3),
            bytes=size,
        )

    async def drain(self, seconds: float) -> bool:
        """Waits for what is under way; whether nothing is left."""
        end = time.monotonic() + seconds
        while self._under_way and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return not self._under_way

    def close(self) -> None:
        """Ends the threads, without waiting for what they work on."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _too_late(seconds: float) -> RequestError:
    return RequestError(Code.DEADLINE_EXCEEDED, f"expected an answer within {seconds:g} s; it takes longer")
