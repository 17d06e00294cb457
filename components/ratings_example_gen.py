"""RatingsExampleGen: ratings from CSV files to tf.Examples, split by hash or as the folders have it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io import filesystems
from google.protobuf import any_pb2, wrappers_pb2
from tfx import types
from tfx.components.example_gen import component, driver, utils, write_split
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components import example_encoder, example_files
from data import reader, tables
from data.byte_ranges import ByteRange, divide
from data.errors import DataError, LayoutError, RowError
from data.rejects import Rejects, parse_text
from data.sidecar import SIDECAR_FILE, Sidecar
from data.values import parse_rating
from modules import example_shards, paths
from modules.features import MOVIE_TITLE, RATINGS, TIMESTAMP, USER_ID, USER_RATING, Column

# Of the user-title pairs, in per cent.
HASH_BUCKETS = {"train": 72, "eval": 8, "test": 20}

# A shard is full with the block of rows that reaches this number.
ROWS_PER_SHARD = 500_000
# Files smaller than this together are read by one worker, one after the other, into the same shards.
WORK_BYTES = 64 << 20
# A file that is larger is divided into ranges of this size where its record lets it: some 300,000 ratings each, so that
# a few workers have about as much to do each, and starting a shard costs nothing beside filling it.
RANGE_BYTES = 16 << 20

# Texts of a column whose encoding is kept, some 250 bytes each: all users and titles of the largest MovieLens release.
_CELLS_KEPT = 1 << 18
_STAGING_FOLDER = "staging"
_ERROR_PREFIX = "error-"
_ERRORS = {error.__name__: error for error in (DataError, LayoutError)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleBlock:
    """Consecutive rows of a ratings file.

    Attributes:
      examples: binary [rows], serialized tf.Examples.
      hashes: uint64 [rows], `pair_hash` of user id and title.
    """

    examples: pa.BinaryArray
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.examples)


def read_examples(
    path: str, open_file: Callable[[str], Any] = tables.open_local, byte_range: ByteRange | None = None
) -> Iterator[ExampleBlock]:
    """Reads a ratings file, or a range of it, as tf.Examples, in the order of its rows.

    The file is what `movie-ranking data prepare` writes, or another CSV with the columns of `modules.features.RATINGS`
    whose rows that command would accept, read and judged by the same code.

    Args:
      path: the file, as `open_file` and messages name it.
      open_file: opens the path for reading bytes.
      byte_range: the lines to read; None for all.

    Raises:
      LayoutError: the header is missing, lacks a required column, repeats one or has one that is not known.
      RowError: a row is bad.
    """
    table = tables.csv_table(path, RATINGS.columns, open_file)
    if byte_range is not None:
        table = byte_range.of(table)
    parsers: dict[str, Callable[[str], Any]] = {
        USER_ID.name: _encode_name(USER_ID),
        MOVIE_TITLE.name: _encode_name(MOVIE_TITLE),
        USER_RATING.name: lambda text: example_encoder.encode_feature(USER_RATING, [parse_rating(text, None)]),
    }
    if TIMESTAMP.name in table.fields:
        parsers[TIMESTAMP.name] = reader.TimestampParser()
    for cells in reader.judged(table, parsers, Rejects(remedy=tables.PREPARE)):
        user, user_hash = _named(cells[USER_ID.name])
        title, title_hash = _named(cells[MOVIE_TITLE.name])
        rating = cells[USER_RATING.name]
        entries = {
            USER_ID.name: user,
            MOVIE_TITLE.name: title,
            USER_RATING.name: pa.array(rating.values, pa.binary()).take(pa.array(rating.codes)),
        }
        if TIMESTAMP.name in cells:
            timestamps = cells[TIMESTAMP.name].array(np.int64)
            entries[TIMESTAMP.name] = example_encoder.encode_integers(TIMESTAMP, timestamps, reader.NO_TIMESTAMP)
        yield ExampleBlock(examples=example_encoder.encode_examples(entries), hashes=pair_hash(user_hash, title_hash))


@functools.cache
def _encode_name(column: Column) -> Callable[[str], tuple[bytes, int]]:
    """Makes of a user id or title its entry in the feature map, and its `text_hash`.

    Texts come again from block to block, so those met last are kept.
    """

    @functools.lru_cache(_CELLS_KEPT)
    def encode(text: str) -> tuple[bytes, int]:
        value = parse_text(text, column.name)
        return example_encoder.encode_feature(column, [value]), text_hash(value)

    return encode


def _named(cells: reader.Cells) -> tuple[pa.BinaryArray, np.ndarray]:
    """Entries, binary [rows], and hashes, uint64 [rows], of user ids or titles."""
    entries = pa.array([entry for entry, _ in cells.values], pa.binary())
    hashes = np.array([text_hash for _, text_hash in cells.values], np.uint64)
    return entries.take(pa.array(cells.codes)), hashes[cells.codes]


def text_hash(text: str) -> int:
    """First 8 bytes of BLAKE2b (RFC 7693, digest size 8) of the UTF-8 text, as a little-endian unsigned integer."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def pair_hash(user_hash: np.ndarray, title_hash: np.ndarray) -> np.ndarray:
    """Hash of each user-title pair, which decides its split.

    It depends on the user id and the title alone, so a pair keeps its split whatever columns and rows surround it.
    The hashes of both are joined by `user_hash * 0x9E3779B97F4A7C15 + title_hash` modulo 2**64, and mixed by the
    finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).

    Args:
      user_hash: uint64 [rows].
      title_hash: uint64 [rows].

    Returns:
      uint64 [rows].
    """
    mixed = user_hash * np.uint64(0x9E3779B97F4A7C15) + title_hash
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How rows are assigned to output splits.

    Attributes:
      names: output splits; for `hash_buckets` empty, those of the input.
      hash_buckets: buckets of each output split, or empty.
    """

    names: tuple[str, ...]
    hash_buckets: tuple[int, ...] = ()

    @classmethod
    def of(cls, input_config: example_gen_pb2.Input, output_config: example_gen_pb2.Output) -> SplitRule:
        """Reads the rule from TFX's configuration."""
        return cls(
            names=tuple(utils.generate_output_split_names(input_config, output_config)),
            hash_buckets=tuple(split.hash_buckets for split in output_config.split_config.splits),
        )

    def assign(self, hashes: np.ndarray, input_split: int) -> np.ndarray:
        """The position in `names` of each row's split: with buckets 72, 8 and 20, a hash modulo 100 below 72 is in 0.

        Args:
          hashes: uint64 [rows].
          input_split: position of the input split that the rows come from.

        Returns:
          int64 [rows].
        """
        if not self.hash_buckets:
            return np.full(len(hashes), input_split)
        upper = np.cumsum(np.asarray(self.hash_buckets, dtype=np.int64))
        return np.searchsorted(upper, (hashes % np.uint64(upper[-1])).astype(np.int64), side="right")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Files, or a range of one, that one worker reads into shards of its own.

    Attributes:
      order: its place among all work.
      input_split: position of the files' input split.
      paths: in the order in which they are read.
      byte_range: the lines to read of a file alone; None for all.
    """

    order: int
    input_split: int
    paths: tuple[str, ...]
    byte_range: ByteRange | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """A finished file of examples that has no final name yet.

    Attributes:
      split: position of its output split.
      place: order of its work, and its own among the shards of that work and split.
      path: where it is.
      rows: how many are in it.
    """

    split: int
    place: tuple[int, int]
    path: str
    rows: int


def plan_work(
    input_base: str,
    input_config: example_gen_pb2.Input,
    *,
    work_bytes: int = WORK_BYTES,
    range_bytes: int = RANGE_BYTES,
) -> list[Work]:
    """Shares out the files of the input splits, each in the order of paths.

    A large file is divided where `ratings.json` in the folder says that its rows are lines, and has its checksum.
    Otherwise it is one worker's: where its rows start cannot be told from the middle, since quoted fields may hold line
    breaks. How many workers there are makes no difference.

    Args:
      input_base: folder that the split patterns stand below; its own path is no pattern.
      input_config: input splits, their patterns resolved.
      work_bytes: size from which on files are not put together.
      range_bytes: size of the ranges that a larger file is divided into.

    Raises:
      LayoutError: a pattern matches no file of the folder.
    """
    checksums = _line_checksums(input_base)
    works: list[Work] = []
    for input_split, split in enumerate(input_config.splits):
        # Those whose fingerprint the driver has taken.
        files = sorted(fileio.glob(os.path.join(paths.escape(input_base), split.pattern)))
        if not files:
            raise LayoutError(
                f"expected CSV files {split.pattern} in {input_base}; got none; "
                "correct the folder or the pattern of the input split"
            )
        for share, byte_range in _shares(files, checksums, work_bytes, range_bytes):
            works.append(Work(order=len(works), input_split=input_split, paths=share, byte_range=byte_range))
    return works


def _shares(
    files: Sequence[str], checksums: Mapping[str, str], work_bytes: int, range_bytes: int
) -> Iterator[tuple[tuple[str, ...], ByteRange | None]]:
    """Files that are read together, or a range of one, in the order of their rows; see `plan_work`."""
    group: list[str] = []
    group_bytes = 0
    for file in files:
        size = fileio.stat(file).length
        ranges: list[ByteRange] = []
        if size > range_bytes and file in checksums:
            opener = filesystems.FileSystems.open
            ranges = divide(file, sha256=checksums[file], range_bytes=range_bytes, open_file=opener)
        if not ranges:
            group.append(file)
            group_bytes += size
        if group and (ranges or group_bytes >= work_bytes):
            yield tuple(group), None
            group, group_bytes = [], 0
        yield from (((file,), byte_range) for byte_range in ranges)
    if group:
        yield tuple(group), None


def _line_checksums(input_base: str) -> dict[str, str]:
    """SHA-256 of the files whose rows are lines, by path, as the record in the folder says; empty without a record."""
    path = os.path.join(input_base, SIDECAR_FILE)
    if not fileio.exists(path):
        return {}
    with fileio.open(path, "rb") as file:
        content = file.read()
    try:
        recorded = Sidecar.parse(content, path).line_checksums
    except DataError:  # Where a record is needed, the configuration refuses this one.
        return {}
    return {os.path.join(input_base, name): sha256 for name, sha256 in recorded.items()}


class _ShardWriter:
    """Writes a gzipped TFRecord file.

    Attributes:
      rows: how many were written.
    """

    def __init__(self, path: str) -> None:
        self._file = example_files.open_writer(path)
        self.close = self._file.close
        self.rows = 0

    def write(self, examples: pa.BinaryArray) -> None:
        for example in examples.to_numpy(zero_copy_only=False):
            self._file.write(example)
        self.rows += len(examples)


def write_shards(
    work: Work,
    rule: SplitRule,
    folder: str,
    *,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> Iterator[Shard]:
    """Writes the rows of the work, in their order, to gzipped TFRecord files, one split each.

    Whatever is repeated after a failure is written to other files, so no two attempts write to the same one.

    Yields:
      each shard once it is complete.

    Raises:
      LayoutError, RowError: see `read_examples`.
    """
    attempt = uuid.uuid4().hex
    finished = [0] * len(rule.names)
    writers: dict[int, _ShardWriter] = {}

    def path_of(split: int) -> str:
        return os.path.join(folder, f"{attempt}-{split}-{finished[split]}")

    def finish(split: int) -> Shard:
        writer = writers.pop(split)
        writer.close()
        shard = Shard(split=split, place=(work.order, finished[split]), path=path_of(split), rows=writer.rows)
        finished[split] += 1
        return shard

    fileio.makedirs(folder)
    with contextlib.ExitStack() as opened:
        for path in work.paths:
            for block in read_examples(path, filesystems.FileSystems.open, work.byte_range):
                splits = rule.assign(block.hashes, work.input_split)
                for split in np.unique(splits).tolist():
                    if split not in writers:
                        writers[split] = _ShardWriter(path_of(split))
                        opened.callback(writers[split].close)
                    writers[split].write(block.examples.filter(pa.array(splits == split)))
                    if writers[split].rows >= rows_per_shard:
                        yield finish(split)
        for split in sorted(writers):
            yield finish(split)


def publish_shards(shards: list[Shard], rule: SplitRule, folders: Sequence[str]) -> list[str]:
    """Gives the shards their final names, in the order of the input; a split without rows gets an empty shard.

    May be repeated: what has its final name already is left alone.

    Args:
      shards: of all splits, in any order.
      rule: names of the splits.
      folders: where the files of each split belong.

    Returns:
      the final paths.

    Raises:
      DataError: there is no row at all, or none in one of the input's own splits.
    """
    published: list[str] = []
    for split, (name, folder) in enumerate(zip(rule.names, folders, strict=True)):
        sources = [shard for shard in sorted(shards, key=lambda shard: shard.place) if shard.split == split]
        if not shards or not (sources or rule.hash_buckets):
            raise DataError(
                f"expected at least one rating{'' if rule.hash_buckets else f' in input split {name!r}'}; got none; "
                "the CSV files hold a header alone"
            )
        fileio.makedirs(folder)
        rows = [shard.rows for shard in sources] or [0]
        targets = [
            os.path.join(folder, example_shards.name_of(index, len(rows), each)) for index, each in enumerate(rows)
        ]
        if not sources:
            example_files.open_writer(targets[0]).close()
        for source, target in zip(sources, targets, strict=False):
            if fileio.exists(source.path):
                fileio.rename(source.path, target, overwrite=True)
            elif not fileio.exists(target):
                raise FileNotFoundError(f"expected {source.path} or {target}; neither exists; run the component again")
        published += targets
    return published


def _error_to_json(error: DataError) -> str:
    """An error about the data as text, from which nothing but an error of `_ERRORS` can be made."""
    return json.dumps([type(error).__name__, vars(error) if isinstance(error, RowError) else str(error)])


def _error_from_json(text: str) -> DataError:
    name, content = json.loads(text)
    return RowError(**content) if name == RowError.__name__ else _ERRORS[name](content)


@contextlib.contextmanager
def _errors_kept(staging: str, order: int = 0) -> Iterator[None]:
    """On a worker: leaves an error about the data in the staging folder, since runners pass on its text alone.

    Args:
      staging: the folder.
      order: of the work, no two of which write to the same file.
    """
    try:
        yield
    except DataError as error:
        fileio.makedirs(staging)
        with fileio.open(os.path.join(staging, f"{_ERROR_PREFIX}{order:05d}.json"), "w") as file:
            file.write(_error_to_json(error))
        raise


@contextlib.contextmanager
def _staging(folder: str) -> Iterator[None]:
    """Where the pipeline is run from: removes the staging folder, and raises the first error that was left in it."""
    if fileio.exists(folder):
        fileio.rmtree(folder)  # A killed attempt left it, perhaps with an error that is no longer true.
    try:
        yield
    finally:
        error = None
        if fileio.exists(folder):
            errors = sorted(name for name in fileio.listdir(folder) if name.startswith(_ERROR_PREFIX))
            if errors:
                with fileio.open(os.path.join(folder, errors[0]), "r") as file:
                    error = _error_from_json(file.read())
            fileio.rmtree(folder)
        if error is not None:
            raise error from None


class _WriteShards(beam.DoFn):
    """Turns work into shards in the staging folder."""

    def __init__(self, rule: SplitRule, staging: str) -> None:
        self._rule = rule
        self._staging = staging
        self._instances = beam.metrics.Metrics.counter(write_split.METRICS_NAMESPACE, "num_instances")

    def process(self, work: Work) -> Iterator[Shard]:
        with _errors_kept(self._staging, work.order):
            for shard in write_shards(work, self._rule, self._staging):
                self._instances.inc(shard.rows)
                yield shard


class _PublishShards(beam.DoFn):
    """Names the shards once all of them are known."""

    def __init__(self, rule: SplitRule, staging: str, folders: Sequence[str]) -> None:
        self._rule = rule
        self._staging = staging
        self._folders = folders

    def process(self, shards: list[Shard]) -> Iterator[str]:
        with _errors_kept(self._staging):
            yield from publish_shards(shards, self._rule, self._folders)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads the ratings in a Beam pipeline whose elements are files, or ranges of large ones, not rows."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples of all splits.

        Args:
          input_dict: empty.
          output_dict: `examples`, one artifact.
          exec_properties: `input_base`, `input_config` and `output_config`, resolved by TFX's FileBasedDriver.

        Raises:
          DataError: the ratings cannot be read, with the file and, for a RowError, the line.
        """
        input_config = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], input_config)
        output_config = example_gen_pb2.Output()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.OUTPUT_CONFIG_KEY], output_config)
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])

        rule = SplitRule.of(input_config, output_config)
        works = plan_work(exec_properties[standard_component_specs.INPUT_BASE_KEY], input_config)
        examples.split_names = artifact_utils.encode_split_names(list(rule.names))
        folders = [artifact_utils.get_split_uri([examples], name) for name in rule.names]
        staging = os.path.join(examples.uri, _STAGING_FOLDER)
        with _staging(staging), self._make_beam_pipeline() as pipeline:
            (
                pipeline
                | "Files" >> beam.Create(works)
                | "WriteShards" >> beam.ParDo(_WriteShards(rule, staging))
                | "AllShards" >> beam.combiners.ToList()
                | "PublishShards" >> beam.ParDo(_PublishShards(rule, staging, folders))
            )
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP))


class Driver(driver.FileBasedDriver):
    """TFX's driver, which finds the files and takes their fingerprint, for an input base that is no pattern."""

    def get_input_processor(self, splits: Any, range_config: Any = None, input_base_uri: str | None = None) -> Any:
        """What looks for the files of the splits; see the base class."""
        return super().get_input_processor(splits, range_config, paths.escape(input_base_uri or ""))


def packed_fingerprint(code_fingerprint: str) -> example_gen_pb2.CustomConfig:
    """The fingerprint where TFX's cache looks: among the properties of an ExampleGen."""
    packed = any_pb2.Any()
    packed.Pack(wrappers_pb2.StringValue(value=code_fingerprint))
    return example_gen_pb2.CustomConfig(custom_config=packed)


class RatingsExampleGen(component.FileBasedExampleGen):
    """Reads ratings from CSV files into tf.Examples.

    The types of the columns are those of `modules.features.RATINGS`, and every row is checked by the reader of
    `movie-ranking data prepare`. Ratings of one input split are split by a hash of user id and title into train, eval
    and test; several input splits stay what they are. Spans and versions in patterns, fingerprints of the input and
    caching are those of TFX's file-based ExampleGens. The same files and record give the same bytes in
    the same order, whatever the number of workers.

    CsvExampleGen, the stock one, guesses the types of columns (an id that looks like a number becomes one), splits by
    a hash of the whole row, so that another column moves ratings between splits, names no line of a bad row, and
    handles every row in Python several times over: 9.8 s for MovieLens 100K, where this one takes 0.5 (`make bench`,
    two cores, legacy lane). What this one cannot do: read other columns than the project's, share a single file out
    among workers unless `data prepare` recorded that its rows are lines, or write other payloads than gzipped
    tf.Examples.

    Outputs:
      examples: gzipped TFRecord files of tf.Examples, a folder a split.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        input_base: str | data_types.RuntimeParameter,
        *,
        input_config: example_gen_pb2.Input,
        code_fingerprint: str,
    ) -> None:
        """Builds the component.

        Args:
          input_base: folder of the ratings.
          input_config: input splits and their patterns.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        super().__init__(
            input_base=input_base,
            input_config=input_config,
            output_config=_output_config(input_config),
            custom_config=packed_fingerprint(code_fingerprint),
        )


def _output_config(input_config: example_gen_pb2.Input) -> example_gen_pb2.Output:
    """Splits by hash in the proportions of `HASH_BUCKETS`, unless the input is split already."""
    if len(input_config.splits) > 1:
        return example_gen_pb2.Output()
    splits = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=size) for name, size in HASH_BUCKETS.items()]
    return example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))
