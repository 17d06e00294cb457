"""The pushed versions: which are loaded, which one answers, and how one takes the place of another.

A thread of its own looks at the folder. A new version is compared with what was judged, loaded and warmed up in a
process of its own while the old one answers; then it takes its place in one step, and the old one is let go once its
last request is answered. A version whose process ends by itself is loaded again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

from components import model_digest, push_records, pushed_versions
from components.errors import IntegrityError
from modules.errors import UserError
from pipeline.serving.errors import Code, RequestError, VersionError, invalid
from pipeline.serving.journal import Journal
from pipeline.serving.labels import CANARY, Labels
from pipeline.serving.metrics import Metrics
from pipeline.serving.model import Model
from pipeline.serving.model_process import ModelProcess

FOLDER = "serving_model"
# How many versions that are gone are still listed.
_MOST_ENDED = 16
# A version whose process ends again and again is not loaded more often than that.
_AGAIN_S = 30.0

_logger = logging.getLogger(__name__)


class State(enum.IntEnum):
    """States of a version, by the numbers of TensorFlow Serving."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Status:
    """What is told of a version.

    Attributes:
      number: of the version.
      state: where it stands.
      code: why it is not in service; None if nothing went wrong.
      message: what went wrong; "" for nothing.
    """

    number: int
    state: State
    code: Code | None = None
    message: str = ""


@dataclasses.dataclass
class _InService:
    model: Model
    requests: int = 0


class Versions:
    """The versions below an output folder."""

    def __init__(
        self, output: str, name: str, journal: Journal, metrics: Metrics, poll_seconds: float = 1.0, threads: int = 1
    ) -> None:
        """Looks at nothing yet.

        Args:
          output: folder of the pipeline, on this machine.
          name: of the model, for messages.
          journal: takes what becomes of versions.
          metrics: takes how many could not be loaded.
          poll_seconds: how often the folder is looked at.
          threads: how many requests a version answers at once.
        """
        self._folder, self._name = os.path.join(output, FOLDER), name
        self._journal, self._metrics, self._poll_seconds, self._threads = journal, metrics, poll_seconds, threads
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._in_service: dict[int, _InService] = {}
        # Of the versions in service, but for what was loaded elsewhere.
        self._processes: dict[int, ModelProcess] = {}
        self._loading: ModelProcess | None = None
        # When versions whose process ended by itself may be loaded again, on `time.monotonic`.
        self._ended: dict[int, float] = {}
        self._statuses: dict[int, Status] = {}
        # What could not be loaded, by its files and what is recorded of it: it is tried again only if these change.
        self._failed: dict[int, tuple[object, ...]] = {}
        self._newest: int | None = None
        self._labels = Labels()
        self._labels_fault = ""
        self._stop = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def start(self, changed: Callable[[], None]) -> None:
        """Begins to look.

        Args:
          changed: is called, in another thread, after the first version was taken into service.
        """
        self._changed = changed
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Ends the looking, and what is being loaded; what is in service answers on.

        Args:
          seconds: to wait for that.
        """
        self._stop.set()
        with self._lock:
            self._idle.notify_all()
        if loading := self._loading:
            loading.end()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def close(self) -> None:
        """Ends all processes, whatever is asked of them."""
        for process in (*self._processes.values(), self._loading):
            if process is not None:
                process.end()

    @property
    def are_ready(self) -> bool:
        """Whether requests are answered."""
        return self._newest is not None

    @property
    def labels(self) -> Labels:
        """The labels as they are in force."""
        return self._labels

    def statuses(self) -> list[Status]:
        """All versions that are told of, the newest first."""
        with self._lock:
            return sorted(self._statuses.values(), key=lambda status: -status.number)

    def current(self) -> Model | None:
        """The version for requests that name none, and are about nobody; None before the first."""
        with self._lock:
            number = self._number(None)
            return None if number is None else self._in_service[number].model

    def take_into_service(self, model: Model) -> None:
        """Has a version answer loaded elsewhere, also where none is named; whoever loaded it vouches for it."""
        with self._lock:
            self._in_service[model.number] = _InService(model)
            self._newest = model.number

    @contextlib.contextmanager
    def lease(self, number: int | None, label: str | None, user: Callable[[], str | None]) -> Iterator[Model]:
        """Holds a version for a request, so that it is not let go meanwhile.

        Args:
          number: of the version that is asked for; None for any.
          label: that is asked for; None for any.
          user: tells whom the request is about; it is called only if that matters.

        Raises:
          RequestError: there is no such version, or none at all yet.
        """
        if number is not None and label is not None:
            raise invalid(f"Both model version ({number}) and model version label ({label}) cannot be supplied.")
        about = user() if number is None and label is None and CANARY in self._labels.labels else None
        with self._lock:
            held = self._find(number, label, about)
            held.requests += 1
        try:
            yield held.model
        finally:
            with self._lock:
                held.requests -= 1
                if not held.requests:
                    self._idle.notify_all()

    def _find(self, number: int | None, label: str | None, user: str | None) -> _InService:
        if label is not None:
            number = self._labels.labels.get(label)
            if number is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        elif number is None:
            number = self._number(user)
        if number is None:
            raise RequestError(Code.UNAVAILABLE, f"Servable not found for request: Latest({self._name})")
        if number not in self._in_service:
            code = Code.UNAVAILABLE if number in self._ended else Code.NOT_FOUND
            raise RequestError(code, f"Servable not found for request: Specific({self._name}, {number})")
        return self._in_service[number]

    def _number(self, user: str | None) -> int | None:
        """The version for a request that names none; a label whose version is not there does not count."""
        labelled = self._labels.version_for(user)
        if labelled not in self._in_service:
            labelled = self._labels.version_for(None)
        return labelled if labelled in self._in_service else self._newest

    def _watch(self) -> None:
        while not self._stop.is_set():
            was_ready = self.are_ready
            try:
                self._look()
            except Exception as error:
                # Whatever it is, the versions in service answer on, and the next look may go well.
                _logger.exception("expected to look at the versions in %s", self._folder)
                self._journal.write("fault", message=f"expected to look at {self._folder}; got: {error}")
            self._metrics.looked()
            if self.are_ready and not was_ready:
                self._changed()
            self._stop.wait(self._poll_seconds)

    def _look(self) -> None:
        """Takes into service what is new, and lets go what is no longer wanted."""
        for number in [number for number, process in self._processes.items() if process.has_ended]:
            self._take_note_of_end(number)
        paths = pushed_versions.versions(self._folder)
        labels = self._read_labels()
        newest = next((number for number in sorted(paths, reverse=True) if self._load(number, paths[number])), None)
        if newest is None:
            # A folder that is empty for a while is no reason to answer nothing.
            newest = self._newest
        for number in sorted(set(labels.labels.values()) & paths.keys()):
            self._load(number, paths[number])
        with self._lock:
            before, self._newest, self._labels = self._number(None), newest, labels
            after = self._number(None)
            wanted = {newest, *labels.labels.values()}
            leaving = [number for number in self._in_service if number not in wanted]
            for number in [each for each in self._statuses if each not in paths and each not in self._in_service]:
                del self._statuses[number]
                self._failed.pop(number, None)
                self._ended.pop(number, None)
        if after != before:
            self._journal.write("in service", version=after)
        for number in leaving:
            self._unload(number)

    def _read_labels(self) -> Labels:
        """The labels, or those that were in force where they cannot be read."""
        try:
            labels = Labels.read(self._folder)
        except UserError as error:
            if str(error) != self._labels_fault:
                self._labels_fault = str(error)
                self._journal.write("fault", message=str(error))
            return self._labels
        self._labels_fault = ""
        return labels

    def _take_note_of_end(self, number: int) -> None:
        """Takes a version out of service whose process has ended by itself."""
        process = self._processes.pop(number)
        message = f"expected version {number} to be served until it is let go; {process.why_ended()}"
        with self._lock:
            self._ended[number] = process.started + _AGAIN_S
            del self._in_service[number]
            if self._newest == number:
                self._newest = max(self._in_service, default=None)
        self._metrics.unloaded(number)
        self._metrics.ended()
        self._tell(Status(number=number, state=State.END, code=Code.UNAVAILABLE, message=message))
        self._journal.write("ended", version=number, message=message)

    def _load(self, number: int, path: str) -> bool:
        """Whether a version is loaded; if it is not yet, it is loaded now, unless that failed before."""
        if number in self._in_service:
            return True
        if self._stop.is_set() or time.monotonic() < self._ended.get(number, 0.0):
            return False
        judged = push_records.judged(self._folder, number)
        files = (judged, *_files_of(path))
        if self._failed.get(number) == files:
            return False
        started = time.monotonic()
        self._tell(Status(number=number, state=State.START))
        try:
            digest = self._judged_digest(number, path, judged)
            self._tell(Status(number=number, state=State.LOADING))
            process, warm_ups = self._loaded(path, number, digest)
        except VersionError as error:
            if self._stop.is_set():
                return False
            if error.code is Code.UNAVAILABLE:
                # Its process ended, which another one may not.
                self._ended[number] = started + _AGAIN_S
            else:
                self._failed[number] = files
            self._tell(Status(number=number, state=State.END, code=error.code, message=str(error)))
            self._journal.write("not loaded", version=number, message=str(error))
            self._metrics.load_failed()
            return False
        self._processes[number] = process
        with self._lock:
            self._in_service[number] = _InService(process)
        self._tell(Status(number=number, state=State.AVAILABLE))
        seconds = time.monotonic() - started
        self._metrics.loaded(number, seconds)
        self._journal.write("loaded", version=number, digest=digest, seconds=round(seconds, 3), warm_ups=warm_ups)
        return True

    def _loaded(self, path: str, number: int, digest: str) -> tuple[ModelProcess, int]:
        """A version in its process, and how many requests have warmed it up.

        Raises:
          VersionError: it cannot be loaded, or its process has ended.
        """
        process = self._loading = ModelProcess(path, number, digest, self._threads)
        try:
            if self._stop.is_set():
                raise VersionError(Code.UNAVAILABLE, "expected a server that goes on; it is being stopped")
            # On all cores while nobody waits for an answer, on one beside requests.
            return process, process.load(threads=1 if self.are_ready else os.cpu_count() or 1)
        except VersionError:
            process.end()
            raise
        finally:
            self._loading = None

    def _judged_digest(self, number: int, path: str, judged: str | None) -> str:
        """The digest of a version's files, which are those that were judged.

        Raises:
          VersionError: they are not, or nobody recorded which were.
        """
        if judged is None:
            raise VersionError(
                Code.FAILED_PRECONDITION,
                f"expected Pusher's record of version {number}, {push_records.path_of(self._folder, number)}, which "
                "names the digest that was judged; got none; serve the whole output folder of `movie-ranking run`",
            )
        try:
            digest = model_digest.of_folder(path)
        except (IntegrityError, OSError) as error:
            raise VersionError(Code.DATA_LOSS, str(error)) from error
        if digest != judged:
            raise VersionError(
                Code.DATA_LOSS,
                f"expected the files that were judged, SHA-256 {judged}; got SHA-256 {digest}: "
                f"they were damaged or changed since; {model_digest.REMEDY}",
            )
        return digest

    def _unload(self, number: int) -> None:
        """Lets a version go once nothing is asked of it any more."""
        self._tell(Status(number=number, state=State.UNLOADING))
        with self._lock:
            leaving = self._in_service.pop(number)
            self._ended.pop(number, None)
            self._idle.wait_for(lambda: not leaving.requests or self._stop.is_set())
        if leaving.requests:
            # The server is being stopped: they have as long as all others.
            return
        self._processes.pop(number).end()
        self._metrics.unloaded(number)
        self._tell(Status(number=number, state=State.END))
        self._journal.write("unloaded", version=number)

    def _tell(self, status: Status) -> None:
        with self._lock:
            self._statuses[status.number] = status
            ended = sorted(number for number, each in self._statuses.items() if each.state is State.END)
            for number in ended[:-_MOST_ENDED]:
                del self._statuses[number]


def _files_of(path: str) -> tuple[object, ...]:
    """What changes when a version is pushed or copied anew."""
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                stat = os.stat(os.path.join(folder, name))
                found.append((os.path.join(folder, name), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(found))
