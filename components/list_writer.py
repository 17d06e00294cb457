"""Lists of recommendations for all users of an exported model, written by a Beam pipeline whose elements are shards.

A shard is a range of the model's users. What a shard says lies in a file of its own, under a name that stands for the
model and for all that was asked, until all are there; then they become one file. So what was interrupted goes on with
the shards that are missing, and the file is complete or absent.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Literal, NamedTuple, get_args

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.utils import shared

from modules.errors import UserError

if int(pa.__version__.partition(".")[0]) < 14:
    import pyarrow_hotfix  # noqa: F401  # switches off what lets a file run code (CVE-2023-47248)

from components import model_digest
from data.progress import Progress, silent
from modules import features, paths, recommending, serving

Form = Literal["parquet", "csv", "jsonl"]
FORMS: tuple[str, ...] = get_args(Form)
# Users of a shard: a minute or less of work.
SHARD_USERS = 4096
_SECONDS_BETWEEN_LOOKS = 1.0
SCHEMA = pa.schema(
    [
        (features.USER_ID.name, pa.string()),
        ("rank", pa.int32()),
        (features.MOVIE_TITLE.name, pa.string()),
        (recommending.SCORE, pa.float32()),
        (serving.PREDICTED_RATING, pa.float32()),
    ]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked for each user.

    Attributes:
      top: titles of a list, at most.
      exclude: titles that are left out.
      only: titles that may be listed; none for all.
    """

    top: int
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


class Written(NamedTuple):
    """What was written.

    Attributes:
      users: how many users there are.
      lines: how many titles all lists have.
      taken: shards that were there from before.
      shards: all of them.
    """

    users: int
    lines: int
    taken: int
    shards: int


def form_of(destination: str) -> Form:
    """The form of a file by the end of its name.

    Raises:
      UserError: it is that of none.
    """
    for form in get_args(Form):
        if destination.endswith(f".{form}"):
            return form
    ends = ", ".join(f".{form}" for form in FORMS)
    raise UserError(f"expected a file whose name ends in {ends}; got {destination!r}; name it so")


def write_lists(
    make_pipeline: Callable[[], beam.Pipeline],
    model: str,
    destination: str,
    wanted: Wanted,
    form: Form,
    progress: Progress = silent,
) -> Written:
    """Writes the lists of all users of a model to one file, whose lines stand in the order of users, best title first.

    Its columns are `user_id`, `rank` from 1, `movie_title`, `score` and `predicted_rating`.

    Args:
      make_pipeline: gives a Beam pipeline; its workers need to see the folder of the destination.
      model: folder of the SavedModel, which has to have what recommends.
      destination: path of the file; one that is there is replaced at the end.
      wanted: what is asked for each user.
      form: of the file.
      progress: told how many users have their lists, whichever machine writes them.

    Raises:
      OSError: the destination cannot be written.
    """
    count = len(_users(model))
    folder = f"{destination}.parts-{_key(model, wanted)}"
    _remove_others(destination, folder)
    tf.io.gfile.makedirs(folder)
    shards = [(begin, min(begin + SHARD_USERS, count)) for begin in range(0, count, SHARD_USERS)]
    missing = [shard for shard in shards if not tf.io.gfile.exists(_part(folder, shard))]
    if missing:
        with _watched(folder, shards, progress), make_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(missing)
                | "Spread" >> beam.Reshuffle()
                | "Recommend" >> beam.ParDo(_Recommend(model, folder, wanted))
            )
    lines = _join([_part(folder, shard) for shard in shards], destination, form)
    tf.io.gfile.rmtree(folder)
    return Written(count, lines, len(shards) - len(missing), len(shards))


@contextlib.contextmanager
def _watched(folder: str, shards: Sequence[tuple[int, int]], progress: Progress) -> Iterator[None]:
    """Tells how many users' lists are in the folder for as long as a `with` block runs."""
    sizes = {os.path.basename(_part(folder, shard)): shard[1] - shard[0] for shard in shards}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            done = sum(sizes.get(name, 0) for name in tf.io.gfile.listdir(folder))
            progress("lists of users", done, sum(sizes.values()), "users")

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


class _Recommend(beam.DoFn):
    """Writes the file of a shard, (first user, behind the last one)."""

    def __init__(self, model: str, folder: str, wanted: Wanted) -> None:
        self._model, self._folder, self._wanted = model, folder, wanted
        self._shared = shared.Shared()

    def setup(self) -> None:
        self._loaded = self._shared.acquire(lambda: _Loaded(self._model))

    def process(self, shard: tuple[int, int]) -> Iterator[int]:
        users = self._loaded.users[slice(*shard)]
        tables = [self._loaded.lists(part, self._wanted) for part in _batches(users, self._loaded.batch)]
        path = _part(self._folder, shard)
        content = io.BytesIO()
        pq.write_table(pa.concat_tables(tables), content)
        with tf.io.gfile.GFile(f"{path}.partial", "wb") as file:
            file.write(content.getvalue())
        tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)
        yield shard[1] - shard[0]


class _Loaded:
    """A model and its users, once for all threads of a process."""

    def __init__(self, model: str) -> None:
        self._model = tf.saved_model.load(paths.plain(model))
        self.users = _users(model)
        self.batch = max(1, recommending.MOST_PAIRS // max(len(_names(model, features.MOVIE_TITLE)), 1))

    def lists(self, users: Sequence[str], wanted: Wanted) -> pa.Table:
        answer = self._model.signatures[recommending.RECOMMEND_USERS](
            user_id=tf.constant(users, tf.string),
            k=tf.constant(wanted.top),
            exclude=tf.constant(wanted.exclude, tf.string),
            only=tf.constant(wanted.only, tf.string),
        )
        titles = answer[features.MOVIE_TITLE.name].numpy()
        # A list that is shorter than the others ends in empty titles.
        row, place = np.nonzero(titles != b"")
        columns = [
            np.asarray(users, object)[row],
            (place + 1).astype(np.int32),
            [title.decode() for title in titles[row, place]],
            answer[recommending.SCORE].numpy()[row, place],
            answer[serving.PREDICTED_RATING].numpy()[row, place],
        ]
        return pa.table([pa.array(values, each.type) for values, each in zip(columns, SCHEMA, strict=True)], SCHEMA)


def _batches(users: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for begin in range(0, len(users), size):
        yield users[begin : begin + size]


def _users(model: str) -> list[str]:
    return _names(model, features.USER_ID)


def _names(model: str, column: features.Column) -> list[str]:
    """The users (titles) with training ratings."""
    with tf.io.gfile.GFile(os.path.join(model, "assets", column.name), "rb") as file:
        # Not `splitlines`, which knows ends of lines that a name may hold.
        return [name for name in file.read().decode().split("\n") if name]


def _key(model: str, wanted: Wanted) -> str:
    """What the parts are made of, in short."""
    asked = json.dumps([model_digest.of_folder(model), dataclasses.asdict(wanted), SHARD_USERS])
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _part(folder: str, shard: tuple[int, int]) -> str:
    return os.path.join(folder, f"users-{shard[0]:09}-{shard[1]:09}.parquet")


def _remove_others(destination: str, kept: str) -> None:
    """Removes parts that are for another model or another question."""
    for folder in tf.io.gfile.glob(f"{paths.escape(destination)}.parts-*"):
        if folder.rstrip("/") != kept:
            tf.io.gfile.rmtree(folder)


def _join(parts: Sequence[str], destination: str, form: Form) -> int:
    """Writes one file of all parts, and gives its number of lines."""
    local = "://" not in destination
    # Beside the destination where that can be, so that the last step is to rename it.
    folder = (os.path.dirname(destination) or ".") if local else None
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".lists-", delete=False) as file:
        try:
            lines = _WRITERS[form](_tables(parts), file)
            file.flush()
            os.fsync(file.fileno())
            if local:
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, destination)
            else:
                tf.io.gfile.copy(file.name, destination, overwrite=True)
        finally:
            if os.path.exists(file.name):
                os.remove(file.name)
    return lines


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _tables(parts: Sequence[str]) -> Iterator[pa.Table]:
    for part in parts:
        with tf.io.gfile.GFile(part, "rb") as file:
            yield pq.read_table(io.BytesIO(file.read()))


def _write_parquet(tables: Iterator[pa.Table], file: IO[bytes]) -> int:
    lines = 0
    with pq.ParquetWriter(file, SCHEMA) as writer:
        for table in tables:
            writer.write_table(table)
            lines += len(table)
    return lines


def _write_csv(tables: Iterator[pa.Table], file: IO[bytes]) -> int:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(SCHEMA.names)
    lines = 0
    for row in _rows(tables):
        rows.writerow(row)
        lines += 1
    text.detach()
    return lines


def _write_jsonl(tables: Iterator[pa.Table], file: IO[bytes]) -> int:
    lines = 0
    for row in _rows(tables):
        file.write(json.dumps(dict(zip(SCHEMA.names, row, strict=True)), ensure_ascii=False).encode() + b"\n")
        lines += 1
    return lines


def _rows(tables: Iterator[pa.Table]) -> Iterator[tuple]:
    """Rows of all tables, numbers with the six digits that a float32 has."""
    for table in tables:
        user, rank, title, score, stars = (column.to_pylist() for column in table.columns)
        numbers = ([float(f"{value:.6g}") for value in values] for values in (score, stars))
        yield from zip(user, rank, title, *numbers, strict=True)


_WRITERS = {"parquet": _write_parquet, "csv": _write_csv, "jsonl": _write_jsonl}
