"""RatingsExampleGen: ratings from CSV files to tf.Examples, split by hash or as the folders have it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import uuid
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io import filesystem, filesystems
from google.protobuf import any_pb2, wrappers_pb2
from tfx import types
from tfx.components.example_gen import component, utils, write_split
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components import ratings_csv
from data.errors import DataError, LayoutError
from modules.features import MOVIE_TITLE, USER_ID

# Of the user-title pairs, in per cent.
DEFAULT_HASH_BUCKETS = {"train": 72, "eval": 8, "test": 20}

# A shard is full with the block of rows that reaches this number.
ROWS_PER_SHARD = 500_000
# Files smaller than this together are read by one worker, one after the other, into the same shards.
WORK_BYTES = 64 << 20

_CSV_PATTERN = "*.csv"
# Inflating takes about the same time at any level; deflating takes three times as long at zlib's default, 6, as at 1,
# for files that are smaller by three tenths.
_COMPRESSION_LEVEL = 1
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_STAGING_FOLDER = "staging"
_ERROR_FILE = "error.pickle"


def input_config_for(folder: str) -> example_gen_pb2.Input:
    """How the ratings of a folder are to be read.

    Args:
      folder: local, or on a file system that TFX reads; its files are listed.

    Returns:
      one input split for each of the sub-folders `train`, `eval` and `test` where there are `train` and `test`;
      one for all CSV files of the folder otherwise.

    Raises:
      LayoutError: the folder has neither.
    """
    found = [name for name in DEFAULT_HASH_BUCKETS if fileio.glob(os.path.join(folder, name, _CSV_PATTERN))]
    if "train" in found and "test" in found:
        return example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name=name, pattern=f"{name}/{_CSV_PATTERN}") for name in found]
        )
    if found:
        raise LayoutError(
            f"expected {_CSV_PATTERN} files in both train/ and test/ of {folder}; got them in {', '.join(found)} only; "
            "add the other folder, or move the files up into the folder itself to have them split by hash"
        )
    if fileio.glob(os.path.join(folder, _CSV_PATTERN)):
        return utils.make_default_input_config(_CSV_PATTERN)
    raise LayoutError(
        f"expected {_CSV_PATTERN} files in {folder}, or in its sub-folders train/, test/ and perhaps eval/; got none; "
        "make the folder with `movie-ranking data fetch` or `movie-ranking data prepare`"
    )


def default_output_config(input_config: example_gen_pb2.Input) -> example_gen_pb2.Output:
    """Splits by hash in the proportions of `DEFAULT_HASH_BUCKETS`, unless the input is split already."""
    if len(input_config.splits) > 1:
        return example_gen_pb2.Output()
    return example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(
            splits=[
                example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=buckets)
                for name, buckets in DEFAULT_HASH_BUCKETS.items()
            ]
        )
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How rows are assigned to output splits.

    Attributes:
      names: output splits; for `hash_buckets` empty, those of the input.
      hash_buckets: buckets of each output split, or empty.
      by_user: the user id alone decides, so that all ratings of a user are in one split.
    """

    names: tuple[str, ...]
    hash_buckets: tuple[int, ...] = ()
    by_user: bool = False

    @classmethod
    def of(cls, input_config: example_gen_pb2.Input, output_config: example_gen_pb2.Output) -> SplitRule:
        """Reads the rule from TFX's configuration.

        Raises:
          RuntimeError: there are several input splits as well as output splits, a name stands twice, or there are no
            buckets.
          ValueError: rows are to be split by a feature that is not `user_id`.
        """
        names = utils.generate_output_split_names(input_config, output_config)
        config = output_config.split_config
        by = config.partition_feature_name
        if by not in ("", USER_ID.name):
            raise ValueError(
                f"partition_feature_name must be {USER_ID.name!r}, or unset for {USER_ID.name} and "
                f"{MOVIE_TITLE.name} together; got {by!r}; change output_config"
            )
        return cls(
            names=tuple(names),
            hash_buckets=tuple(split.hash_buckets for split in config.splits),
            by_user=bool(by),
        )

    def assign(self, block: ratings_csv.ExampleBlock, input_split: int) -> Any:
        """int64 [rows]: the position in `names` of each row's split."""
        if not self.hash_buckets:
            return np.full(len(block), input_split)
        hashes = block.user_hash if self.by_user else ratings_csv.pair_hash(block.user_hash, block.title_hash)
        return ratings_csv.hash_splits(hashes, self.hash_buckets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Files that one worker reads into shards of its own.

    Attributes:
      order: its place among all work.
      input_split: position of the files' input split.
      paths: in the order in which they are read.
    """

    order: int
    input_split: int
    paths: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """A finished file of examples that has no final name yet.

    Attributes:
      split: position of its output split.
      place: order of its work, and its own among the shards of that work and split.
      path: where it is.
    """

    split: int
    place: tuple[int, int]
    path: str


def plan_work(input_base: str, input_config: example_gen_pb2.Input, *, work_bytes: int = WORK_BYTES) -> list[Work]:
    """Shares out the files of the input splits, each in the order of paths.

    A file is never divided: where its rows start cannot be told from the middle, since quoted fields may hold line
    breaks. Ratings for many workers therefore come in many files.

    Args:
      input_base: folder that the split patterns stand below.
      input_config: input splits, their patterns resolved.
      work_bytes: size from which on files are not put together.

    Raises:
      LayoutError: a pattern matches no file.
    """
    works: list[Work] = []
    patterns = [os.path.join(input_base, split.pattern) for split in input_config.splits]
    for input_split, match in enumerate(filesystems.FileSystems.match(patterns)):
        files = sorted(match.metadata_list, key=lambda file: file.path)
        if not files:
            raise LayoutError(
                f"expected CSV files that match {match.pattern}; got none; "
                "correct the folder or the pattern of the input split"
            )
        group: list[str] = []
        size = 0
        for position, file in enumerate(files):
            group.append(file.path)
            size += file.size_in_bytes
            if size >= work_bytes or position == len(files) - 1:
                works.append(Work(order=len(works), input_split=input_split, paths=tuple(group)))
                group, size = [], 0
    return works


class _ShardWriter:
    """Writes framed records to a gzip file of any file system that Beam knows.

    Attributes:
      rows: how many were written.
    """

    def __init__(self, path: str) -> None:
        self._file = filesystems.FileSystems.create(path, "application/gzip", filesystem.CompressionTypes.UNCOMPRESSED)
        self._deflate = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
        self.rows = 0

    def write(self, framed: pa.BinaryArray) -> None:
        self._file.write(self._deflate.compress(ratings_csv.contiguous(framed)))
        self.rows += len(framed)

    def finish(self) -> None:
        self._file.write(self._deflate.flush())
        self._file.close()

    def abandon(self) -> None:
        """Lets go of the file, finished or not."""
        self._file.close()


def write_shards(
    work: Work,
    rule: SplitRule,
    folder: str,
    *,
    rows_per_shard: int = ROWS_PER_SHARD,
    block_bytes: int = ratings_csv.BLOCK_BYTES,
) -> Iterator[tuple[Shard, int]]:
    """Writes the rows of the files, in their order, to gzipped TFRecord files, one split each.

    Whatever is repeated after a failure is written to other files, so no two attempts write to the same one.

    Yields:
      each shard once it is complete, and its rows.

    Raises:
      LayoutError, RatingsRowError: see `ratings_csv.read_examples`.
    """
    attempt = uuid.uuid4().hex
    finished = [0] * len(rule.names)
    writers: dict[int, _ShardWriter] = {}

    def path_of(split: int) -> str:
        return os.path.join(folder, f"{attempt}-{split}-{finished[split]}")

    def finish(split: int) -> tuple[Shard, int]:
        writer = writers.pop(split)
        writer.finish()
        shard = Shard(split=split, place=(work.order, finished[split]), path=path_of(split))
        finished[split] += 1
        return shard, writer.rows

    with contextlib.ExitStack() as opened:
        for path in work.paths:
            for block in ratings_csv.read_examples(path, filesystems.FileSystems.open, block_bytes=block_bytes):
                splits = rule.assign(block, work.input_split)
                framed = ratings_csv.frame_records(block.examples)
                for split in np.unique(splits).tolist():
                    if split not in writers:
                        writers[split] = _ShardWriter(path_of(split))
                        opened.callback(writers[split].abandon)
                    writers[split].write(framed.filter(pa.array(splits == split)))
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
        sources = [shard.path for shard in sorted(shards, key=lambda shard: shard.place) if shard.split == split]
        if not shards or not (sources or rule.hash_buckets):
            raise DataError(
                f"expected at least one rating{'' if rule.hash_buckets else f' in input split {name!r}'}; got none; "
                "the CSV files hold a header alone"
            )
        if not filesystems.FileSystems.exists(folder):
            filesystems.FileSystems.mkdirs(folder)
        prefix = os.path.join(folder, write_split.DEFAULT_TF_RECORD_FILE_NAME)
        total = max(1, len(sources))
        targets = [f"{prefix}-{index:05d}-of-{total:05d}.gz" for index in range(total)]
        if not sources:
            _ShardWriter(targets[0]).finish()
        for source, target in zip(sources, targets, strict=False):
            if filesystems.FileSystems.exists(source):
                filesystems.FileSystems.rename([source], [target])
            elif not filesystems.FileSystems.exists(target):
                raise FileNotFoundError(f"expected {source} or {target}; neither exists; run the component again")
        published += targets
    return published


@contextlib.contextmanager
def _errors_kept(staging: str) -> Iterator[None]:
    """On a worker: leaves an error about the data in the staging folder, since runners pass on its text alone."""
    try:
        yield
    except DataError as error:
        path = os.path.join(staging, _ERROR_FILE)
        with filesystems.FileSystems.create(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as file:
            file.write(pickle.dumps(error))
        raise


@contextlib.contextmanager
def _staging(folder: str) -> Iterator[None]:
    """Where the pipeline is run from: removes the staging folder, and raises the error that was left in it."""
    if fileio.exists(folder):
        fileio.rmtree(folder)  # A killed attempt left it, perhaps with an error that is no longer true.
    try:
        yield
    finally:
        error = None
        if fileio.exists(folder):
            path = os.path.join(folder, _ERROR_FILE)
            if fileio.exists(path):
                with fileio.open(path, "rb") as file:
                    error = pickle.loads(file.read())
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
        with _errors_kept(self._staging):
            for shard, rows in write_shards(work, self._rule, self._staging):
                self._instances.inc(rows)
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
    """Reads the ratings in a Beam pipeline whose elements are files, not rows."""

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
          DataError: the ratings cannot be read, with the file and, for a RatingsRowError, the row.
          ValueError: the configuration asks for what is not supported.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
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


class RatingsExampleGen(component.FileBasedExampleGen):
    """Reads ratings from CSV files into tf.Examples.

    The types of the columns are those of `modules.features.COLUMNS`; none is guessed. Every row is checked. Ratings
    are split by a hash of user id and title into train, eval and test, unless the folder holds them split. Spans and
    versions in patterns, fingerprints of the input and caching are those of TFX's file-based ExampleGens. The same
    files give the same bytes in the same order.

    ```
    ratings = RatingsExampleGen(input_base="ml-100k")
    ```

    Outputs:
      examples: gzipped TFRecord files of tf.Examples, a folder a split.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        input_base: str | data_types.RuntimeParameter,
        *,
        input_config: example_gen_pb2.Input | None = None,
        output_config: example_gen_pb2.Output | None = None,
        range_config: range_config_pb2.RangeConfig | data_types.RuntimeParameter | None = None,
        code_fingerprint: str = "",
    ) -> None:
        """Builds the component.

        Args:
          input_base: folder of the ratings.
          input_config: input splits and their patterns; by default `input_config_for(input_base)`.
          output_config: output splits and their buckets; by default `default_output_config(input_config)`.
          range_config: the span to read where patterns hold `{SPAN}` or a date; by default the latest.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.

        Raises:
          LayoutError: the folder holds no ratings.
          RuntimeError, ValueError: the configuration is contradictory; see `SplitRule.of`.
          ValueError: `input_config` is missing, and the folder is not local or not known yet.
        """
        if input_config is None:
            if not isinstance(input_base, str) or "://" in input_base:
                raise ValueError(
                    "input_config must be given where the folder of the ratings is remote or a runtime parameter, "
                    f"since it is not looked into before the run; got None for {input_base}; "
                    f"pass an example_gen_pb2.Input with a pattern such as {_CSV_PATTERN!r} for each input split"
                )
            input_config = input_config_for(input_base)
        output_config = output_config or default_output_config(input_config)
        SplitRule.of(input_config, output_config)
        custom_config = None
        if code_fingerprint:
            packed = any_pb2.Any()
            packed.Pack(wrappers_pb2.StringValue(value=code_fingerprint))
            custom_config = example_gen_pb2.CustomConfig(custom_config=packed)
        super().__init__(
            input_base=input_base,
            input_config=input_config,
            output_config=output_config,
            custom_config=custom_config,
            range_config=range_config,
        )
