"""A sample of the requests with their answers, in files as TensorFlow Serving writes them.

Each record of the TFRecord files is a `PredictionLog`: the request, the answer, and in `log_metadata` the version, the
signature, the share that was sampled, the time, and the request's id as `request_origin`; `shown_titles` reads them.
The files hold personal data: users' ids, and what was asked for them.
"""

from __future__ import annotations

import collections
import datetime
import fcntl
import math
import os
import pathlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from data import atomic
from modules.errors import UserError

# A file that is not complete has a dot before its name.
_PREFIX, _SUFFIX = "requests-", ".tfrecord"
# The files that are complete.
PATTERN = f"{_PREFIX}*{_SUFFIX}"
_LOCK_FILE = ".requests.lock"
# TFRecord's own bytes in each record: its length and two checksums.
_FRAME_BYTES = 16
# What writing raises, where the folder cannot be written to.
_FAULTS = (OSError, tf.errors.OpError)
_FAULT_CHARACTERS = 200


class RequestLog:
    """Writes requests in a thread of its own: whoever offers one waits for no disk.

    They wait in memory, up to twice the bytes of a file, and are written a file at a time. While the folder cannot be
    written to, as on a full disk, they go on waiting; those that have no place are dropped.

    Attributes:
      written: requests in complete files.
      dropped: requests of the sample that are in none: they were larger than a file, or there was no place for them.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        share: float,
        max_file_bytes: int,
        max_age_s: float,
        max_total_bytes: int,
        *,
        tell: Callable[[str], None],
        retry_s: float = 10.0,
    ) -> None:
        """Makes the folder, and starts the thread. What a killed process left incomplete is removed.

        Args:
          folder: for the files; no other process writes there.
          share: of the requests that are logged, 0 to 1, drawn at random.
          max_file_bytes: no file is larger.
          max_age_s: no request waits longer for its file.
          max_total_bytes: all files together; the oldest are removed.
          tell: takes a line when the folder cannot be written to, and one when it can again; in another thread.
          retry_s: when the folder could not be written to, it is tried again so much later.

        Raises:
          UserError: one of these cannot be, or the folder cannot be made, written to, or is used already.
        """
        if not 0.0 <= share <= 1.0:
            raise UserError(f"expected a share of the requests from 0 to 1; got {share!r}")
        if not 0.0 < max_age_s <= threading.TIMEOUT_MAX:
            raise UserError(f"expected seconds above 0 for a request to wait for its file; got {max_age_s!r}")
        if not 0 < 2 * max_file_bytes <= max_total_bytes:
            raise UserError(
                "expected bytes above 0 for a file of requests, and at least twice as many for all of them; got "
                f"{max_file_bytes:,} and {max_total_bytes:,}"
            )
        self._folder = pathlib.Path(folder)
        self._share, self._max_file_bytes, self._max_age_s = share, max_file_bytes, max_age_s
        self._max_total_bytes, self._tell, self._retry_s = max_total_bytes, tell, retry_s
        self.written = self.dropped = 0
        self._random = random.Random()
        self._changed = threading.Condition()
        self._waiting: collections.deque[bytes] = collections.deque()
        self._waiting_bytes, self._waiting_since = 0, math.inf
        self._closed = False
        self._files = 0
        self._lock = self._take_folder()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def offer(
        self,
        request: Callable[[], predict_pb2.PredictRequest],
        response: Callable[[], predict_pb2.PredictResponse],
        request_id: str,
        version: int,
    ) -> None:
        """Takes a request and its answer, if it is in the sample and there is a place for it.

        Args:
          request: makes the message; it is called for what is in the sample alone.
          response: likewise.
          request_id: of the request.
          version: of the model that answered.
        """
        if self._random.random() >= self._share:
            return
        record = self._record(request(), response(), request_id, version)
        size = len(record) + _FRAME_BYTES
        with self._changed:
            if self._closed or size > self._max_file_bytes or self._waiting_bytes + size > 2 * self._max_file_bytes:
                self.dropped += 1
                return
            is_first = not self._waiting
            if is_first:
                self._waiting_since = time.monotonic()
            self._waiting.append(record)
            self._waiting_bytes += size
            if is_first or self._waiting_bytes >= self._max_file_bytes:
                self._changed.notify()

    def close(self) -> None:
        """Writes what waits; nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._lock.close()

    def _record(
        self,
        request: predict_pb2.PredictRequest,
        response: predict_pb2.PredictResponse,
        request_id: str,
        version: int,
    ) -> bytes:
        log = prediction_log_pb2.PredictionLog(
            predict_log=prediction_log_pb2.PredictLog(request=request, response=response)
        )
        metadata = log.log_metadata
        metadata.model_spec.name = request.model_spec.name
        metadata.model_spec.signature_name = request.model_spec.signature_name
        metadata.model_spec.version.value = version
        metadata.sampling_config.sampling_rate = self._share
        metadata.timestamp_secs = int(time.time())
        metadata.request_origin = request_id
        return log.SerializeToString()

    def _take_folder(self) -> IO[str]:
        """The lock of the folder, which holds nothing incomplete any more."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = open(self._folder / _LOCK_FILE, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise UserError(
                f"expected a folder for requests that can be made and written; got {self._folder}: {error.strerror}; "
                "give another"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise UserError(
                f"expected a folder for requests that no other server writes to; got {self._folder}; give another"
            ) from None
        for partial in self._folder.glob(f".{PATTERN}"):
            partial.unlink()
        return lock

    def _run(self) -> None:
        fault = ""
        while True:
            records, closed = self._next(retry=bool(fault))
            try:
                if records:
                    self._write(records)
            except _FAULTS as error:
                if closed:
                    self._tell(f"{len(records):,} requests are not logged: {_in_a_line(error)}")
                    self._drop(records)
                    return
                self._put_back(records)
                if not fault:
                    fault = _in_a_line(error)
                    self._tell(f"requests are not logged until {self._folder} can be written to: {fault}")
            else:
                self.written += len(records)
                if fault:
                    fault = ""
                    self._tell(f"requests are logged again: {self._folder} can be written to")
                if closed and not self._waiting:
                    return

    def _next(self, *, retry: bool) -> tuple[list[bytes], bool]:
        """The records of the next file, once they fill it, are old or the last ones; and whether there is an end.

        Args:
          retry: whether the folder could not be written to a moment ago.
        """
        with self._changed:
            if retry:
                self._changed.wait_for(lambda: self._closed, timeout=self._retry_s)
            while not (self._closed or self._waiting_bytes >= self._max_file_bytes):
                left = self._waiting_since + self._max_age_s - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(None if left == math.inf else left)
            records, size = [], 0
            while self._waiting and (size := size + len(self._waiting[0]) + _FRAME_BYTES) <= self._max_file_bytes:
                records.append(self._waiting.popleft())
            self._waiting_bytes -= sum(len(record) + _FRAME_BYTES for record in records)
            self._waiting_since = time.monotonic() if self._waiting else math.inf
            return records, self._closed

    def _put_back(self, records: Sequence[bytes]) -> None:
        """Has records wait on that could not be written; the latest are dropped where there are too many."""
        with self._changed:
            self._waiting.extendleft(reversed(records))
            self._waiting_bytes += sum(len(record) + _FRAME_BYTES for record in records)
            self._waiting_since = -math.inf
            while self._waiting_bytes > 2 * self._max_file_bytes:
                self._waiting_bytes -= len(self._waiting.pop()) + _FRAME_BYTES
                self.dropped += 1

    def _drop(self, records: Sequence[bytes]) -> None:
        with self._changed:
            self.dropped += len(records) + len(self._waiting)
            self._waiting.clear()

    def _write(self, records: Sequence[bytes]) -> None:
        """Writes a file, which appears whole or not at all, after making room for it.

        Raises:
          OSError or tf.errors.OpError: the folder cannot be written to; nothing is left of the file.
        """
        self._make_room(sum(len(record) + _FRAME_BYTES for record in records))
        self._files += 1
        now = datetime.datetime.now(datetime.timezone.utc)
        # The names are in the order of time.
        name = f"{_PREFIX}{now:%Y%m%dT%H%M%S.%fZ}-{self._files:06}{_SUFFIX}"
        partial = self._folder / f".{name}"
        try:
            with tf.io.TFRecordWriter(str(partial)) as writer:
                for record in records:
                    writer.write(record)
            atomic.flush(partial)
            partial.rename(self._folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        """Removes the oldest files, until so many bytes have room beside the others."""
        files = sorted(self._folder.glob(PATTERN))
        sizes = [file.stat().st_size for file in files]
        for place, oldest in enumerate(files):
            if sum(sizes[place:]) + needed <= self._max_total_bytes:
                return
            oldest.unlink()


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_FAULT_CHARACTERS]
