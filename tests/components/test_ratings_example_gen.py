from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import gzip
import hashlib
import json
import pathlib
import pickle
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from unittest import mock

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.io import filesystems
from apache_beam.options import pipeline_options
from apache_beam.runners.portability import fn_api_runner
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import data_types, metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components import ratings_example_gen as gen
from data import tables
from data.errors import DataError, LayoutError, RowError
from data.prepare import prepare
from data.sidecar import Sidecar, TableFile
from modules import features

REQUIRED = ("user_id", "movie_title", "user_rating")
ALL = tuple(column.name for column in features.RATINGS.columns)
ROWS = (
    ("007", "Heat (1995)", "4.5", "880000000"),
    ("7", 'Say "cheese", or die', "3", ""),
    ("ünï", "七人の侍 (1954)", "0.1", "0"),
    ("7", "T" * 4_096, "1e-3", "99999999999"),
)


def write_csv(path: pathlib.Path, rows: Iterable[Sequence[str]], header: Sequence[str] = REQUIRED) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return str(path)


def many_rows(rng: np.random.Generator, count: int) -> list[tuple[str, str, str]]:
    users, titles, stars = rng.integers(1, 30, count), rng.integers(1, 40, count), rng.integers(1, 6, count)
    return [(str(u), f"Title {t}, The", str(s)) for u, t, s in zip(users, titles, stars, strict=True)]


def expected_example(row: Sequence[str], header: Sequence[str] = REQUIRED) -> bytes:
    """What protobuf makes of a row, value by value."""
    example = tf.train.Example()
    for name, cell in zip(header, row, strict=True):
        if not cell:
            continue
        feature = example.features.feature[name]
        if name == "user_rating":
            feature.float_list.value[:] = [float(cell)]
        elif name == "timestamp":
            feature.int64_list.value[:] = [int(cell)]
        else:
            feature.bytes_list.value[:] = [cell.encode()]
    return example.SerializeToString(deterministic=True)


def read(path: str) -> list[bytes]:
    return [example for block in gen.read_examples(path) for example in block.examples.to_pylist()]


def expected_hash(user: str, title: str) -> int:
    """The documented hash, in Python integers."""

    def text_hash(text: str) -> int:
        return struct.unpack("<Q", hashlib.blake2b(text.encode(), digest_size=8).digest())[0]

    low_64_bits = 2**64 - 1
    mixed = (text_hash(user) * 0x9E3779B97F4A7C15 + text_hash(title)) & low_64_bits
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & low_64_bits
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & low_64_bits
    return mixed ^ (mixed >> 31)


def expected_split(user: str, title: str) -> str:
    bucket = expected_hash(user, title) % 100
    return "train" if bucket < 72 else "eval" if bucket < 80 else "test"


# Reading


def test_every_column_is_encoded_as_protobuf_does(tmp_path: pathlib.Path) -> None:
    path = write_csv(tmp_path / "ratings.csv", ROWS, ALL)
    assert read(path) == [expected_example(row, ALL) for row in ROWS]


def test_columns_may_stand_in_any_order_and_be_missing(tmp_path: pathlib.Path) -> None:
    header = ("timestamp", "user_rating", "movie_title", "user_id")
    rows = [("12", "5", "Heat", "1"), ("", "2", "Speed", "2")]
    assert read(write_csv(tmp_path / "ratings.csv", rows, header)) == [expected_example(row, header) for row in rows]


def test_ids_that_look_like_numbers_stay_as_they_are(tmp_path: pathlib.Path) -> None:
    path = write_csv(tmp_path / "ratings.csv", [("007", "300", "5"), ("7", "1917", "4"), ("7.0", "NA", "3")])
    examples = [tf.train.Example.FromString(example).features.feature for example in read(path)]
    assert [example["user_id"].bytes_list.value[0] for example in examples] == [b"007", b"7", b"7.0"]
    assert [example["movie_title"].bytes_list.value[0] for example in examples] == [b"300", b"1917", b"NA"]


def test_cells_are_tidied_by_the_rules_of_data_prepare(tmp_path: pathlib.Path) -> None:
    path = write_csv(tmp_path / "ratings.csv", [(" 1 ", "Heat\r\n (1995) ", " 4.0 ")])
    assert read(path) == [expected_example(("1", "Heat (1995)", "4.0"))]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfuser_id,movie_title,user_rating\n1,Heat,5\n",
        b"user_id,movie_title,user_rating\r\n1,Heat,5\r\n",
        b'"user_id",movie_title,"user_rating"\n\n"1","Heat",5',
    ],
    ids=["byte order mark", "carriage returns", "empty lines, no line end"],
)
def test_spellings_of_the_same_file(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(content)
    assert read(str(path)) == [expected_example(("1", "Heat", "5"))]


def test_blocks_leave_no_trace(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(str(i), f'A "title",\nnumber {i}', "4", str(i * 1000)) for i in range(200)]
    path = write_csv(tmp_path / "ratings.csv", rows, ALL)
    expected = [expected_example((user, title.replace("\n", " "), *rest), ALL) for user, title, *rest in rows]
    for block_bytes in (64, 97, 1000, 1 << 20):
        monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
        assert read(path) == expected
        assert (len(list(gen.read_examples(path))) > 5) == (block_bytes <= 1000)


def test_a_file_with_a_header_alone_has_no_rows(tmp_path: pathlib.Path) -> None:
    assert read(write_csv(tmp_path / "ratings.csv", [])) == []


# Guards

HEADER = b"user_id,movie_title,user_rating,timestamp\n"
GOOD = b'1,"Heat, the film",5,\n\n"2","two\nlines",4,12\n'


@pytest.mark.parametrize(
    ("bad_row", "expected", "value"),
    [
        (b"3,Heat\n", "4 fields", "2 fields"),
        (b"3,Heat,4,5,6\n", "4 fields", "5 fields"),
        (b",Heat,4,\n", "a user_id that is not empty", "''"),
        (b'3,"  ",4,\n', "a movie_title that is not empty", "'  '"),
        (b"3,Heat,,\n", "number", "''"),
        (b"3,Heat,good,\n", "number", "'good'"),
        (b"3,Heat,nan,\n", "number", "'nan'"),
        (b"3,Heat,-inf,\n", "number", "'-inf'"),
        (b"3,Heat,1e39,\n", "number", "'1e39'"),
        (b"3,Heat,4,soon\n", "a timestamp in seconds since 1970", "'soon'"),
        (b"3,Heat,4,-1\n", "a timestamp from 1970 on", "'-1'"),
        (b"3,\xff\xfe,4,\n", "text in UTF-8", r"3,\\xff\\xfe,4,"),
        (b'3,"Heat,4,\n', "quoted as RFC 4180 says", "breaks off"),
    ],
)
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_bad_rows_are_named(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    bad_row: bytes,
    expected: str,
    value: str,
    block_bytes: int,
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "ratings.csv"
    path.write_bytes(HEADER + GOOD * 20 + bad_row + GOOD * 20)
    with pytest.raises(RowError, match="movie-ranking data prepare") as caught:
        read(str(path))
    assert expected in caught.value.expected
    assert value in caught.value.value
    # A header, then twenty times four lines.
    assert (caught.value.file, caught.value.line) == (str(path), 82)
    assert f"{path}, line 82: expected " in str(caught.value)


def test_a_quote_that_swallows_rows_is_refused_as_prepare_refuses_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b'user_id,movie_title,user_rating\n1,"Heat,4\n2,Speed,5\n3,"Toy Story,3\n4,Alien,1\n')
    problems = []
    for refusing in (lambda: read(str(path)), lambda: prepare(path, tmp_path / "out")):
        with pytest.raises(RowError) as caught:
            refusing()
        problems.append((caught.value.file, caught.value.line, caught.value.value, caught.value.expected))
    assert problems[0] == problems[1]
    assert problems[0][:2] == (str(path), 2)


@pytest.mark.parametrize(("timestamp", "good"), [("-1", False), ("0", True), ("9" * 18, True), ("9" * 19, False)])
def test_what_prepare_lets_pass_the_run_does_too(tmp_path: pathlib.Path, timestamp: str, good: bool) -> None:
    path = write_csv(tmp_path / "own.csv", [("1", "Heat", "5", timestamp), ("1", "Speed", "4", "")], ALL)
    if good:
        prepare(path, tmp_path / "out")
        assert len(read(str(tmp_path / "out" / "ratings.csv"))) == len(read(path)) == 2
    else:
        for refusing in (lambda: read(path), lambda: prepare(path, tmp_path / "out", strict=True)):
            with pytest.raises(RowError, match="line 2: expected a timestamp"):
                refusing()


def test_the_first_bad_row_is_named_whatever_its_column(tmp_path: pathlib.Path) -> None:
    path = write_csv(tmp_path / "r.csv", [("1", "Heat", "5"), ("1", "Speed", "x"), ("", "Alien", "1"), ("1", "", "2")])
    with pytest.raises(RowError) as caught:
        read(path)
    assert (caught.value.line, caught.value.value) == (3, "'x'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"user_id,movie_title,user_rating,mood\n1,Heat,5,x\n", "column 'mood' is not known"),
        (b"user_id,movie_title,user_rating,genres\n1,Heat,5,x\n", "column 'genres' is not known"),
        (b"user_id,movie_title\n1,Heat\n", "column 'user_rating' is missing"),
        (b"user_id,movie_title,user_id,user_rating\n1,Heat,1,5\n", "column 'user_id' stands twice"),
        (b"1,Heat,5\n2,Speed,4\n", "column '1' is not known"),
        (b"", "got an empty line"),
        (b"\n\n", "got an empty line"),
    ],
)
def test_bad_headers_are_refused(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=message) as caught:
        read(str(path))
    assert str(path) in str(caught.value)
    assert "movie-ranking data prepare" in str(caught.value) or "add a header" in str(caught.value)


def test_bad_rows_of_a_compressed_file_are_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ratings.csv.gz"
    path.write_bytes(gzip.compress(HEADER + GOOD + b"3,,4,\n"))
    with pytest.raises(RowError) as caught:
        list(gen.read_examples(str(path), filesystems.FileSystems.open))
    assert caught.value.line == 6


# Splits


def test_hash_is_the_documented_one(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    rows = [*many_rows(rng, 300), ("ünï", "七人の侍", "1")]
    (block,) = gen.read_examples(write_csv(tmp_path / "ratings.csv", rows))
    assert block.hashes.dtype == np.uint64
    assert block.hashes.tolist() == [expected_hash(user, title) for user, title, _ in rows]


def test_hash_never_changes() -> None:
    # Another value here, and every split of every user's data is another one.
    assert gen.text_hash("90") == 10712378585947845637
    user = np.array([gen.text_hash("90")], np.uint64)
    title = np.array([gen.text_hash("12 Angry Men (1957)")], np.uint64)
    assert gen.pair_hash(user, title).tolist() == [2839075261117029461]


def test_buckets_are_half_open() -> None:
    hashes = np.array([0, 71, 72, 79, 80, 99, 100, 2**64 - 1], np.uint64)
    # 2**64 - 1 is 15 modulo 100.
    assert gen.SplitRule(names=("a", "b", "c"), hash_buckets=(72, 8, 20)).assign(hashes, 0).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        0,
        0,
    ]
    assert gen.SplitRule(names=("a",), hash_buckets=(1,)).assign(hashes, 0).tolist() == [0] * 8
    assert gen.SplitRule(names=("a", "b")).assign(hashes, 1).tolist() == [1] * 8


def test_shares_are_as_configured() -> None:
    users = np.array([gen.text_hash(str(user)) for user in range(100)], np.uint64)
    titles = np.array([gen.text_hash(f"Title {title}") for title in range(200)], np.uint64)
    hashes = gen.pair_hash(np.repeat(users, 200), np.tile(titles, 100))
    rule = gen.SplitRule(names=("train", "eval", "test"), hash_buckets=(72, 8, 20))
    shares = np.bincount(rule.assign(hashes, 0)) / 20_000
    # Four standard deviations of a binomial share.
    np.testing.assert_allclose(shares, [0.72, 0.08, 0.20], atol=4 * np.sqrt(0.25 / 20_000))


# Configuration


def input_config(**patterns: str) -> example_gen_pb2.Input:
    return example_gen_pb2.Input(
        splits=[example_gen_pb2.Input.Split(name=name, pattern=pattern) for name, pattern in patterns.items()]
    )


def component(folder: Any = "gs://bucket/ratings", code: str = "a", **patterns: str) -> gen.RatingsExampleGen:
    inputs = input_config(**(patterns or {"all": "ratings*.csv"}))
    return gen.RatingsExampleGen(folder, input_config=inputs, code_fingerprint=code)


def output_config_of(node: gen.RatingsExampleGen) -> example_gen_pb2.Output:
    output = example_gen_pb2.Output()
    proto_utils.json_to_proto(node.exec_properties["output_config"], output)
    return output


def test_component_splits_by_hash_unless_the_input_is_split() -> None:
    node = component()
    assert [(split.name, split.hash_buckets) for split in output_config_of(node).split_config.splits] == [
        ("train", 72),
        ("eval", 8),
        ("test", 20),
    ]
    assert not output_config_of(component(train="train/*", test="test/*")).split_config.splits
    assert node.exec_properties["output_data_format"] == example_gen_pb2.FORMAT_TF_EXAMPLE
    assert node.id == "RatingsExampleGen"


@pytest.mark.parametrize("folder", ["gs://bucket/ratings", data_types.RuntimeParameter(name="folder", ptype=str)])
def test_component_does_not_look_into_folders(folder: Any) -> None:
    assert str(component(folder).exec_properties["input_base"]) == str(folder)


def test_component_takes_the_fingerprint_of_the_code_into_its_properties() -> None:
    properties = [component(code=text).exec_properties for text in ("a", "b", "a")]
    assert properties[0] == properties[2]
    assert properties[0] != properties[1]


# Work and shards


def test_small_files_share_work_and_large_ones_do_not(tmp_path: pathlib.Path) -> None:
    for name, count in (("b", 1), ("a", 1), ("d", 1), ("c", 100)):
        write_csv(tmp_path / f"{name}.csv", ROWS[:1] * count, ALL)
    works = gen.plan_work(str(tmp_path), input_config(all="*.csv"), work_bytes=500)
    assert [[pathlib.Path(path).stem for path in work.paths] for work in works] == [["a", "b", "c"], ["d"]]
    assert [work.order for work in works] == [0, 1]
    with pytest.raises(LayoutError, match=r"CSV files \*\.tsv in .*; got none"):
        gen.plan_work(str(tmp_path), input_config(all="*.tsv"))


def test_files_are_put_together_until_they_are_large_enough(tmp_path: pathlib.Path) -> None:
    files = [pathlib.Path(write_csv(tmp_path / f"{number}.csv", ROWS[:1])) for number in range(6)]
    (size,) = {file.stat().st_size for file in files}
    for work_bytes in (3 * size, 2 * size + 1):
        works = gen.plan_work(str(tmp_path), input_config(all="*.csv"), work_bytes=work_bytes)
        assert [len(work.paths) for work in works] == [3, 3]


def recorded(folder: pathlib.Path, path: str, *, rows_are_lines: bool = True) -> None:
    """Writes the record of a folder with one file."""
    file = TableFile.of(folder, pathlib.Path(path).relative_to(folder).as_posix())
    file = dataclasses.replace(file, rows_are_lines=rows_are_lines)
    Sidecar(rating_scale=(1.0, 5.0), files=(file,)).write(folder)


def parts_of(works: list[gen.Work]) -> list[tuple[str, tuple[int, int] | None]]:
    """The name of the first file of each work, and its range of bytes."""
    return [
        (pathlib.Path(work.paths[0]).name, work.byte_range and (work.byte_range.start, work.byte_range.end))
        for work in works
    ]


def test_large_files_whose_rows_are_lines_are_divided(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b", "c"):
        write_csv(tmp_path / f"{name}.csv", [("1", "Heat", "5")] * 20)
    recorded(tmp_path, str(tmp_path / "b.csv"))
    works = gen.plan_work(str(tmp_path), input_config(all="*.csv"), range_bytes=100)
    # The header has 32 bytes and each row 9: what is 100 bytes long before the end of a row goes on to it.
    assert parts_of(works) == [("a.csv", None), ("b.csv", (0, 104)), ("b.csv", (104, 212)), ("c.csv", None)]
    assert [work.order for work in works] == [0, 1, 2, 3]
    assert parts_of(gen.plan_work(str(tmp_path), input_config(all="b.csv"), range_bytes=212)) == [("b.csv", None)]


@pytest.mark.parametrize("case", ["no record", "rows are not lines", "edited", "no record that can be read"])
def test_files_whose_rows_may_hold_line_breaks_are_not_divided(tmp_path: pathlib.Path, case: str) -> None:
    rows = [("1", "Heat", "5")] * 20
    path = write_csv(tmp_path / "ratings.csv", rows)
    if case != "no record":
        recorded(tmp_path, path, rows_are_lines=case != "rows are not lines")
    if case == "no record that can be read":
        (tmp_path / "ratings.json").write_text("{")
    if case == "edited":
        write_csv(tmp_path / "ratings.csv", [*rows, ("2", "Heat\n2", "4")])
    for range_bytes in (1, 100):
        works = gen.plan_work(str(tmp_path), input_config(all="*.csv"), range_bytes=range_bytes)
        assert parts_of(works) == [("ratings.csv", None)]


def test_what_prepare_writes_can_be_divided(tmp_path: pathlib.Path) -> None:
    rows = [(str(user), 'A "title",\r\nof\x0bmany\u2028lines', "4") for user in range(20)]
    prepare(write_csv(tmp_path / "own.csv", [*rows, ("0", "Heat", "5")]), tmp_path / "out")
    path = tmp_path / "out" / "ratings.csv"
    works = gen.plan_work(str(tmp_path / "out"), input_config(all="ratings*.csv"), range_bytes=100)
    assert len(works) > 5
    examples = [
        example
        for work in works
        for block in gen.read_examples(str(path), byte_range=work.byte_range)
        for example in block.examples.to_pylist()
    ]
    assert examples == read(str(path))
    assert len(examples) == 21


def test_shards_hold_the_rows_in_order(
    tmp_path: pathlib.Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", 500)
    rows = many_rows(rng, 400)
    path = write_csv(tmp_path / "ratings.csv", rows)
    rule = gen.SplitRule(names=("a", "b"), hash_buckets=(3, 1))
    work = gen.Work(order=0, input_split=0, paths=(path,))
    written = list(gen.write_shards(work, rule, str(tmp_path / "staging"), rows_per_shard=100))
    again = list(gen.write_shards(work, rule, str(tmp_path / "staging"), rows_per_shard=100))
    assert sum(shard.rows for shard in written) == 400
    assert {shard.path for shard in written}.isdisjoint(shard.path for shard in again)

    folders = [str(tmp_path / name) for name in rule.names]
    shards = written[::-1]
    published = gen.publish_shards(shards, rule, folders)
    assert gen.publish_shards(shards, rule, folders) == published
    names = [pathlib.Path(path).name for path in published if "/a/" in path]
    counts = [shard.rows for shard in written if shard.split == 0]
    assert names == [f"data_tfrecord-{n:05d}-of-{len(names):05d}.{count}-rows.gz" for n, count in enumerate(counts)]
    assert len(names) in (2, 3)
    for split, folder in enumerate(folders):
        expected = [row for row in rows if (expected_hash(row[0], row[1]) % 4 == 3) == bool(split)]
        assert records_in(folder) == [expected_example(row) for row in expected]


def test_a_bad_row_leaves_no_file_open(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_writer(path: str) -> mock.Mock:
        opened.append(mock.Mock(wraps=tf.io.TFRecordWriter(path)))
        return opened[-1]

    monkeypatch.setattr(gen.example_files, "open_writer", open_writer)
    paths = tuple(write_csv(tmp_path / f"{rating}.csv", [("1", "Heat", rating)]) for rating in ("5", "bad"))
    work = gen.Work(order=0, input_split=0, paths=paths)
    with pytest.raises(RowError):
        list(gen.write_shards(work, gen.SplitRule(names=("a",)), str(tmp_path / "staging")))
    assert [writer.close.called for writer in opened] == [True]


def test_shards_that_are_lost_are_missed(tmp_path: pathlib.Path) -> None:
    shard = gen.Shard(split=0, place=(0, 0), path=str(tmp_path / "lost"), rows=7)
    with pytest.raises(FileNotFoundError, match="run the component again"):
        gen.publish_shards([shard], gen.SplitRule(names=("a",), hash_buckets=(1,)), [str(tmp_path / "a")])


def records_in(folder: str) -> list[bytes]:
    """Records of all shards, read by TensorFlow, which verifies the checksums."""
    paths = sorted(str(path) for path in pathlib.Path(folder).iterdir())
    return list(tf.data.TFRecordDataset(paths, compression_type="GZIP").as_numpy_iterator())


# The executor


def hashed(**buckets: int) -> example_gen_pb2.Output:
    splits = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=count) for name, count in buckets.items()]
    return example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))


def run_executor(
    base: pathlib.Path,
    output: pathlib.Path,
    inputs: example_gen_pb2.Input,
    outputs: example_gen_pb2.Output | None = None,
    *,
    workers: int = 1,
) -> standard_artifacts.Examples:
    options = pipeline_options.PipelineOptions(
        direct_num_workers=workers, direct_running_mode="in_memory" if workers == 1 else "multi_threading"
    )
    examples = standard_artifacts.Examples()
    examples.uri = str(output)
    context = base_beam_executor.BaseBeamExecutor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(runner=fn_api_runner.FnApiRunner(), options=options)
    )
    gen.Executor(context).Do(
        {},
        {"examples": [examples]},
        {
            "input_base": str(base),
            "input_config": proto_utils.proto_to_json(inputs),
            "output_config": proto_utils.proto_to_json(outputs or hashed(**gen.HASH_BUCKETS)),
        },
    )
    return examples


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_executor_splits_by_hash(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    rows = many_rows(rng, 500)
    write_csv(tmp_path / "in" / "1.csv", rows[:300])
    write_csv(tmp_path / "in" / "2.csv", [(*row, "12") for row in rows[300:]], ALL)
    examples = run_executor(tmp_path / "in", tmp_path / "out", input_config(all="*.csv"))

    assert examples.split_names == '["train", "eval", "test"]'
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert examples.get_string_custom_property("file_format") == "tfrecords_gzip"
    files = sorted(contents(tmp_path / "out"))
    counts = [len(records_in(str(tmp_path / "out" / f"Split-{name}"))) for name in ("eval", "test", "train")]
    assert sum(counts) == len(rows)
    assert files == [
        f"Split-{name}/data_tfrecord-00000-of-00001.{count}-rows.gz"
        for name, count in zip(("eval", "test", "train"), counts, strict=True)
    ]
    encoded = [expected_example(row) for row in rows[:300]]
    encoded += [expected_example((*row, "12"), ALL) for row in rows[300:]]
    for name in ("train", "eval", "test"):
        expected = [
            example for row, example in zip(rows, encoded, strict=True) if expected_split(row[0], row[1]) == name
        ]
        assert records_in(f"{examples.uri}/Split-{name}") == expected


def test_executor_gives_the_same_bytes_again(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    write_csv(tmp_path / "in" / "ratings.csv", many_rows(rng, 500))
    for name in ("first", "second"):
        run_executor(tmp_path / "in", tmp_path / name, input_config(all="*.csv"))
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_workers_make_no_difference(
    tmp_path: pathlib.Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = many_rows(rng, 500)
    recorded(tmp_path / "in", write_csv(tmp_path / "in" / "ratings.csv", rows))
    whole = run_executor(tmp_path / "in", tmp_path / "whole", input_config(all="*.csv"))
    monkeypatch.setattr(gen, "plan_work", functools.partial(gen.plan_work, range_bytes=2_000))
    for workers in (1, 2):
        run_executor(tmp_path / "in", tmp_path / str(workers), input_config(all="*.csv"), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    # The same rows in the same order, in more shards.
    assert len(contents(tmp_path / "1")) > len(contents(tmp_path / "whole")) == 3
    for name in ("train", "eval", "test"):
        assert records_in(f"{tmp_path}/1/Split-{name}") == records_in(f"{whole.uri}/Split-{name}")


def test_executor_takes_given_splits_as_they_are(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    rows = {name: many_rows(rng, 50) for name in ("train", "eval", "test")}
    for name, its_rows in rows.items():
        write_csv(tmp_path / "in" / name / "ratings.csv", its_rows)
    inputs = input_config(**{name: f"{name}/ratings*.csv" for name in rows})
    examples = run_executor(tmp_path / "in", tmp_path / "out", inputs, example_gen_pb2.Output())
    assert examples.split_names == '["train", "eval", "test"]'
    for name, its_rows in rows.items():
        assert records_in(f"{examples.uri}/Split-{name}") == [expected_example(row) for row in its_rows]


def test_executor_writes_an_empty_shard_for_a_split_without_rows(tmp_path: pathlib.Path) -> None:
    write_csv(tmp_path / "in" / "ratings.csv", [("1", "Heat", "5")])
    examples = run_executor(tmp_path / "in", tmp_path / "out", input_config(all="*.csv"), hashed(a=1, b=1))
    assert sorted(records_in(f"{examples.uri}/Split-a") + records_in(f"{examples.uri}/Split-b")) == [
        expected_example(("1", "Heat", "5"))
    ]
    assert sorted(pathlib.Path(path).name for path in contents(tmp_path / "out")) == [
        f"data_tfrecord-00000-of-00001.{rows}-rows.gz" for rows in (0, 1)
    ]


def test_executor_raises_the_error_of_the_row(tmp_path: pathlib.Path) -> None:
    path = write_csv(tmp_path / "in" / "ratings.csv", [("1", "Heat", "5"), ("2", "", "4")])
    with pytest.raises(RowError) as caught:
        run_executor(tmp_path / "in", tmp_path / "out", input_config(all="*.csv"))
    assert (caught.value.file, caught.value.line) == (path, 3)
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_executor_names_the_line_of_a_row_in_a_range(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    path = write_csv(tmp_path / "in" / "ratings.csv", [("1", "Heat", "5")] * 300 + [("1", "", "4")] + [("2", "A", "1")])
    recorded(tmp_path / "in", path)
    monkeypatch.setattr(gen, "plan_work", functools.partial(gen.plan_work, range_bytes=500))
    with pytest.raises(RowError) as caught:
        run_executor(tmp_path / "in", tmp_path / "out", input_config(all="*.csv"), workers=workers)
    assert (caught.value.file, caught.value.line) == (path, 302)
    assert contents(tmp_path / "out") == {}


def test_the_first_of_several_errors_is_raised(tmp_path: pathlib.Path) -> None:
    staging = str(tmp_path / "staging")

    def fail() -> None:
        for order, text in ((12, "third"), (2, "first"), (3, "second")):
            with contextlib.suppress(DataError), gen._errors_kept(staging, order):
                raise DataError(text)

    with pytest.raises(DataError, match="first"), gen._staging(staging):
        fail()
    assert not (tmp_path / "staging").exists()


def test_executor_raises_the_error_of_the_file(tmp_path: pathlib.Path) -> None:
    write_csv(tmp_path / "in" / "ratings.csv", [("1", "Heat", "5", "x")], (*REQUIRED, "mood"))
    with pytest.raises(LayoutError, match=r"in/ratings\.csv: .* column 'mood' is not known"):
        run_executor(tmp_path / "in", tmp_path / "out", input_config(all="*.csv"))


def test_nothing_but_an_error_about_data_is_made_of_what_lies_in_a_folder() -> None:
    with pytest.raises(KeyError, match="SystemExit"):
        gen._error_from_json(json.dumps(["SystemExit", "0"]))


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize("fails", [False, True])
def test_what_others_put_in_the_folder_is_not_run(tmp_path: pathlib.Path, monkeypatch, fails: bool) -> None:
    """While the component works, as whoever can write there would do it."""
    write_csv(tmp_path / "in" / "ratings.csv", [("1", "Heat", "5"), ("2", "" if fails else "Heat", "4")])
    write_shards = gen.write_shards

    def with_visitor(work: gen.Work, rule: gen.SplitRule, folder: str) -> Iterator[tuple[gen.Shard, int]]:
        for place in (pathlib.Path(folder), pathlib.Path(folder).parent):
            place.mkdir(parents=True, exist_ok=True)
            for name in ("error.pickle", "sums.pickle", "error", "error.pkl"):
                (place / name).write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
        yield from write_shards(work, rule, folder)

    monkeypatch.setattr(gen, "write_shards", with_visitor)
    with pytest.raises(RowError) if fails else contextlib.nullcontext():
        run_executor(tmp_path / "in", tmp_path / "out", input_config(all="*.csv"))
    assert not (tmp_path / "touched").exists()


def test_executor_refuses_headers_alone(tmp_path: pathlib.Path) -> None:
    write_csv(tmp_path / "in" / "train" / "ratings.csv", [("1", "Heat", "5")])
    write_csv(tmp_path / "in" / "test" / "ratings.csv", [])
    inputs = input_config(train="train/*.csv", test="test/*.csv")
    with pytest.raises(DataError, match="at least one rating in input split 'test'; got none"):
        run_executor(tmp_path / "in", tmp_path / "out", inputs, example_gen_pb2.Output())
    with pytest.raises(DataError, match="at least one rating; got none"):
        run_executor(tmp_path / "in" / "test", tmp_path / "out", input_config(all="*.csv"))


def test_executor_forgets_what_a_killed_attempt_left(tmp_path: pathlib.Path) -> None:
    write_csv(tmp_path / "in" / "ratings.csv", [("1", "Heat", "5")])
    staging = tmp_path / "out" / "staging"
    staging.mkdir(parents=True)
    (staging / "error-00000.json").write_text(json.dumps(["DataError", "no longer true"]))
    (staging / "half-written").write_bytes(b"x")
    run_executor(tmp_path / "in", tmp_path / "out", input_config(all="*.csv"))
    assert not staging.exists()


def test_the_latest_span_is_read(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "in"
    for span, version in ((1, 1), (2, 1), (2, 3)):
        write_csv(folder / f"span-{span}" / f"v{version}" / "ratings.csv", [(f"{span}.{version}", "Heat", "5")])
    inputs = input_config(all="span-{SPAN}/v{VERSION}/*.csv")
    resolved = resolved_by_driver(folder, inputs)
    assert (resolved["span"], resolved["version"]) == (2, 3)
    proto_utils.json_to_proto(resolved["input_config"], inputs)
    examples = run_executor(folder, tmp_path / "out", inputs, hashed(all=1))
    assert records_in(f"{examples.uri}/Split-all") == [expected_example(("2.3", "Heat", "5"))]


def resolved_by_driver(folder: pathlib.Path, inputs: example_gen_pb2.Input) -> dict[str, Any]:
    """The properties of an execution, as the component's driver completes them."""
    resolve = gen.RatingsExampleGen.DRIVER_CLASS(metadata_handle=None).resolve_exec_properties
    return resolve({"input_base": str(folder), "input_config": proto_utils.proto_to_json(inputs)}, None, None)


@pytest.mark.parametrize(("name", "decoy"), [("run[12]", "run1"), ("a*b?", "axxbc"), ("x\\y", "xy")])
def test_a_folder_is_no_pattern(tmp_path: pathlib.Path, name: str, decoy: str) -> None:
    write_csv(tmp_path / decoy / "ratings.csv", [("1", "Decoy", "1")] * 3)
    for empty in (input_config(all="ratings*.csv"), input_config(train="train/ratings*.csv")):
        with pytest.raises(LayoutError, match="got none"):
            gen.plan_work(str(tmp_path / name), empty)
    write_csv(tmp_path / name / "ratings.csv", [("1", "Heat", "5")])
    inputs = input_config(all="ratings*.csv")
    resolved = resolved_by_driver(tmp_path / name, inputs)
    assert resolved["input_base"] == str(tmp_path / name)
    size = (tmp_path / name / "ratings.csv").stat().st_size
    assert resolved["input_fingerprint"].startswith(f"split:all,num_files:1,total_bytes:{size},")
    examples = run_executor(tmp_path / name, tmp_path / "out", inputs, hashed(all=1))
    assert records_in(f"{examples.uri}/Split-all") == [expected_example(("1", "Heat", "5"))]


# TFX


@pytest.mark.slow
def test_pipeline_run_is_cached_until_the_input_changes(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    write_csv(tmp_path / "in" / "span-1" / "ratings.csv", many_rows(rng, 100))
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")

    def run(code: str) -> tuple[list[int], metadata_store_pb2.Artifact]:
        """States of all executions so far, and the artifact made last."""
        local_dag_runner.LocalDagRunner().run(
            tfx_pipeline.Pipeline(
                pipeline_name="ratings",
                pipeline_root=str(tmp_path / "root"),
                metadata_connection_config=connection,
                enable_cache=True,
                components=[
                    gen.RatingsExampleGen(
                        str(tmp_path / "in"),
                        input_config=input_config(all="span-{SPAN}/*.csv"),
                        code_fingerprint=code,
                    )
                ],
                # An image keeps TFX from packing itself up for workers elsewhere; there are none.
                beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
            )
        )
        with metadata.Metadata(connection) as handle:
            states = [execution.last_known_state for execution in handle.store.get_executions()]
            return states, handle.store.get_artifacts_by_type("Examples")[-1]

    done, cached = metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED
    states, first = run("a")
    assert states == [done]
    assert first.custom_properties["span"].int_value == 1
    assert first.custom_properties["input_fingerprint"].string_value.startswith("split:all,num_files:1")
    assert first.custom_properties["payload_format"].string_value == "FORMAT_TF_EXAMPLE"
    before = contents(pathlib.Path(first.uri))

    states, artifact = run("a")
    assert states == [done, cached]
    assert artifact.uri == first.uri
    assert contents(pathlib.Path(first.uri)) == before

    states, _ = run("b")
    assert states == [done, cached, done]

    write_csv(tmp_path / "in" / "span-2" / "ratings.csv", many_rows(rng, 110))
    states, artifact = run("b")
    assert states == [done, cached, done, done]
    assert artifact.custom_properties["span"].int_value == 2
    records = [len(records_in(f"{artifact.uri}/Split-{name}")) for name in ("train", "eval", "test")]
    assert sum(records) == 110
