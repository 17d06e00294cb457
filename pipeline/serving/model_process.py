"""A version in a process of its own, which gives back all that it took as soon as the version is let go.

In one process Python's lock is held while TensorFlow loads a model and, for tenths of a second, while it frees one, and
much of the memory is not given back. Here no request of another version waits for either.

Requests go to the process over several connections, each of which has a thread there. Whoever asks sends what to call
and waits for the answer, also where nobody wants it any more, so that it is not taken for that to the next request.
The process ends when it is told to, or when a connection is closed, as all are at the end of the server. Python's
pickles cross the connections, of which both ends were made here, and no other process can get at them; what clients
send has become arrays before.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from pipeline.serving import fork_server
from pipeline.serving.errors import Code, RequestError, VersionError
from pipeline.serving.loaded_model import LoadedModel
from pipeline.serving.signatures import Signature

# Ending takes milliseconds; a process that is stopped does not.
_END_S = 5.0
_RUN, _VARIABLE = "run", "variable"
_logger = logging.getLogger(__name__)


class ModelProcess:
    """A `Model` in a process of its own.

    Attributes:
      number: of the version.
      digest: of its files, SHA-256.
      folder: of the version.
      signatures: those that can be asked for, by name; none before it is loaded.
      definitions: of all signatures, as the SavedModel has them; none before it is loaded.
      started: `time.monotonic()` when the process was started.
    """

    def __init__(self, folder: str, number: int, digest: str, threads: int) -> None:
        """Starts the process, which loads nothing yet.

        Args:
          folder: of the version.
          number: of the version.
          digest: of its files.
          threads: how many requests it answers at once; the others wait.
        """
        self.number, self.digest, self.folder = number, digest, folder
        self.signatures: dict[str, Signature] = {}
        self.definitions: dict[str, meta_graph_pb2.SignatureDef] = {}
        self.started = time.monotonic()
        self._ending = threading.Lock()
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._control, control = fork_server.CONTEXT.Pipe()
        theirs = []
        for _ in range(threads):
            mine, other = fork_server.CONTEXT.Pipe()
            self._free.put(mine)
            theirs.append(other)
        self._process = fork_server.CONTEXT.Process(
            target=_run, args=(folder, number, digest, control, theirs), name=f"version {number}", daemon=True
        )
        fork_server.start()
        self._process.start()
        # What is left here of the other ends would keep the end of the process from being noticed.
        for each in (control, *theirs):
            each.close()

    def load(self, threads: int) -> int:
        """Loads the version, and warms it up; counts the requests of that.

        Args:
          threads: how many of them are asked at once.

        Raises:
          VersionError: it is damaged, or there is something that it does not answer; UNAVAILABLE if the process ended.
        """
        try:
            self._control.send(threads)
            loaded = self._control.recv()
        except (EOFError, OSError) as error:
            raise VersionError(Code.UNAVAILABLE, f"expected a model that can be loaded; {self.why_ended()}") from error
        if isinstance(loaded, VersionError):
            raise loaded
        self.signatures, self.definitions, warm_ups = loaded
        return warm_ups

    def run(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers a request; see `Model`."""
        return self._ask(_RUN, signature.name, inputs)

    def variable(self, name: str) -> np.ndarray | None:
        """The values of a variable; see `Model`."""
        return self._ask(_VARIABLE, name)

    def _ask(self, what: str, *arguments: Any) -> Any:
        connection, is_answered = self._free.get(), False
        try:
            connection.send((what, arguments))
            answer, fault = connection.recv()
            is_answered = True
        except (EOFError, OSError) as error:
            raise RequestError(
                Code.UNAVAILABLE, f"expected an answer of version {self.number}; its process has ended; try again later"
            ) from error
        finally:
            if not is_answered:
                # Which ends the process: the next request must not get what is still to come.
                connection.close()
            self._free.put(connection)
        if fault is not None:
            raise fault
        return answer

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone; asked once it is loaded."""
        # Nothing else comes over it any more.
        return self._control.poll()

    def why_ended(self) -> str:
        """How a process that has ended did, in words."""
        code = self._code()
        if code is None:
            return "its process does not answer"
        return f"its process ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}"

    def _code(self) -> int | None:
        with self._ending:
            self._process.join(_END_S)
            return self._process.exitcode

    def end(self) -> None:
        """Ends the process, and waits until it is gone; what is asked of it is not answered any more."""
        # An error if it has ended by itself.
        with contextlib.suppress(OSError):
            self._control.send(None)
        if self._code() is None:
            self._process.kill()
            self._code()


def _run(folder: str, number: int, digest: str, control: Connection, connections: list[Connection]) -> None:
    """What the process does: it loads the version when told to, then answers until it is told to end."""
    threads = _received(control)
    threading.Thread(target=_received, args=(control,), name="control", daemon=True).start()
    # On a GPU there is room for the next version beside this one.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # What was imported, and what is loaded, stays.
    gc.disable()
    try:
        model = LoadedModel(folder, number, digest)
        warm_ups = model.warm_up(threads)
    except VersionError as error:
        control.send(error)
        return
    gc.freeze()
    gc.enable()
    answering = [
        threading.Thread(target=_answer, args=(each, model), name="answer", daemon=True) for each in connections
    ]
    for each in answering:
        each.start()
    control.send((model.signatures, model.definitions, warm_ups))
    for each in answering:
        each.join()


def _answer(connection: Connection, model: LoadedModel) -> None:
    """Answers requests, one after another."""
    while True:
        try:
            what, arguments = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        answer: Any = None
        fault: Exception | None = None
        try:
            if what == _RUN:
                name, inputs = arguments
                answer = model.run(model.signatures[name], inputs)
            else:
                answer = model.variable(*arguments)
        except RequestError as error:
            fault = error
        except Exception as error:
            # Not all that is raised can be sent.
            _logger.exception("expected an answer of version %s", model.number)
            fault = RuntimeError(f"expected an answer of version {model.number}; got {type(error).__name__}: {error}")
        try:
            connection.send((answer, fault))
        except OSError:
            os._exit(0)


def _received(control: Connection) -> int:
    """What the server says; the process ends if that is nothing, or the server is gone."""
    try:
        said = control.recv()
    except (EOFError, OSError):
        said = None
    if said is None:
        os._exit(0)
    return said
