"""Side tables as tf.Examples, against protobuf; each guard of a row, and TFX's cache."""

from __future__ import annotations

import hashlib
import logging
import pathlib
from typing import Any

import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import standard_artifacts

from components import tables_example_gen as gen
from data.errors import LayoutError, RowError
from data.prepare import prepare
from modules import features
from pipeline.local.notes import Notes

TITLES = 'movie_title,genres,release_year\n"Heat, the (1995)",Action|Crime,1995\nSpeed,,\n 七人の侍 ,Drama||War|,1954\n'
USERS = "user_zip_code,user_id,user_age,user_gender,user_occupation\n00501,007,0,F,büro\n,7,120,,\n"


def run_executor(base: pathlib.Path, output: pathlib.Path) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(output)
    context = base_beam_executor.BaseBeamExecutor.Context()
    gen.Executor(context).Do({}, {"examples": [examples]}, {"input_base": str(base)})
    return examples


def records_in(examples: Any, split: str) -> list[dict[str, list[Any]]]:
    """Features of each example, read by TensorFlow."""
    (path,) = pathlib.Path(examples.uri, f"Split-{split}").iterdir()
    assert path.name == "data_tfrecord-00000-of-00001.gz"
    found = []
    for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP").as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        assert example.SerializeToString(deterministic=True) == record
        found.append(
            {
                name: list(getattr(feature, feature.WhichOneof("kind")).value)
                for name, feature in example.features.feature.items()
            }
        )
    return found


def texts(*values: str) -> list[bytes]:
    return [value.encode() for value in values]


def test_each_table_is_a_split(tmp_path: pathlib.Path) -> None:
    (tmp_path / "titles.csv").write_text(TITLES, encoding="utf-8")
    (tmp_path / "users.csv").write_text(USERS, encoding="utf-8")
    examples = run_executor(tmp_path, tmp_path / "out")
    assert examples.split_names == '["titles", "users"]'
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert examples.get_string_custom_property("file_format") == "tfrecords_gzip"
    assert records_in(examples, "titles") == [
        {"movie_title": texts("Heat, the (1995)"), "genres": texts("Action", "Crime"), "release_year": [1995]},
        {"movie_title": texts("Speed")},
        {"movie_title": texts("七人の侍"), "genres": texts("Drama", "War"), "release_year": [1954]},
    ]
    assert records_in(examples, "users") == [
        {"user_id": texts("007"), "user_age": [0], "user_gender": texts("F"), "user_occupation": texts("büro"),
         "user_zip_code": texts("00501")},
        {"user_id": texts("7"), "user_age": [120]},
    ]  # fmt: skip


def test_a_table_that_is_not_there_gives_no_examples(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "titles.csv").write_text("movie_title\nHeat\n")
    with caplog.at_level(logging.INFO, gen.__name__):
        examples = run_executor(tmp_path, tmp_path / "out")
    said = [record.getMessage() for record in caplog.records if record.name == gen.__name__]
    assert said == [f"1 rows of {tmp_path / 'titles.csv'}", f"0 rows of {tmp_path / 'users.csv'}"]
    assert records_in(examples, "titles") == [{"movie_title": [b"Heat"]}]
    assert records_in(examples, "users") == []


@pytest.mark.parametrize(
    ("row", "expected", "value"),
    [
        ("Heat,Crime,1995", "a movie_title that no earlier row has", "'Heat'"),
        (" Heat ,Crime,1995", "a movie_title that no earlier row has", "'Heat'"),
        (",Crime,1995", "a movie_title that is not empty", "''"),
        ("Speed,Crime,1869", "a release_year in [1870, 2100]", "'1869'"),
        ("Speed,Crime,2101", "a release_year in [1870, 2100]", "'2101'"),
        ("Speed,Crime,94.5", "a release_year that is an integer", "'94.5'"),
        ("Speed,Crime", "3 fields", "2 fields"),
        ('"Speed,Crime,1994', "closed quotes, or --no-quotes where quotes are text", "a quote that is never closed"),
    ],
)
def test_bad_rows_are_named(tmp_path: pathlib.Path, row: str, expected: str, value: str) -> None:
    path = tmp_path / "titles.csv"
    path.write_text(f"movie_title,genres,release_year\nHeat,Crime,1870\nAlien,,2100\n{row}\n")
    with pytest.raises(RowError, match="movie-ranking data prepare") as caught:
        run_executor(tmp_path, tmp_path / "out")
    error = caught.value
    assert (error.file, error.line, error.expected, error.value) == (str(path), 4, expected, value)


@pytest.mark.parametrize("age", ["-1", "121"])
def test_ages_have_bounds(tmp_path: pathlib.Path, age: str) -> None:
    (tmp_path / "users.csv").write_text(f"user_id,user_age\n1,0\n2,120\n3,{age}\n")
    with pytest.raises(RowError, match=rf"users\.csv, line 4: expected a user_age in \[0, 120\]; got '{age}'"):
        run_executor(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("column", [features.RELEASE_YEAR, features.USER_AGE], ids=lambda column: column.name)
def test_what_prepare_lets_pass_the_run_does_too(tmp_path: pathlib.Path, column: features.Column) -> None:
    def own(value: int) -> pathlib.Path:
        path = tmp_path / "own.csv"
        path.write_text(f"user_id,movie_title,user_rating,{column.name}\n1,Heat,5,\n2,Speed,4,{value}\n")
        return path

    assert column.low is not None
    assert column.high is not None
    for value in (column.low, column.high):
        prepare(own(value), tmp_path / "in")
        examples = run_executor(tmp_path / "in", tmp_path / f"out-{value}")
        rows = records_in(examples, "users" if column is features.USER_AGE else "titles")
        assert [row.get(column.name) for row in rows] == [None, [value]]
    for value in (column.low - 1, column.high + 1):
        with pytest.raises(RowError, match=rf"line 3: expected a {column.name} in .*; got '{value}'"):
            prepare(own(value), tmp_path / "in", strict=True)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("movie_title,mood", "column 'mood' is not known"),
        ("movie_title,user_age", "column 'user_age' is not known"),
        ("genres,release_year", "column 'movie_title' is missing"),
        ("movie_title,genres,genres", "column 'genres' stands twice"),
    ],
)
def test_bad_headers_are_refused(tmp_path: pathlib.Path, header: str, message: str) -> None:
    (tmp_path / "titles.csv").write_text(f"{header}\n")
    with pytest.raises(LayoutError, match=rf"titles\.csv: .*{message}.*movie-ranking data prepare"):
        run_executor(tmp_path, tmp_path / "out")


def test_component_reads_the_files_of_the_tables() -> None:
    node = gen.TablesExampleGen("gs://bucket/ratings", code_fingerprint="a")
    for table in features.SIDE_TABLES:
        assert f'"pattern": "{table.file}"' in node.exec_properties["input_config"]
    assert node.id == "TablesExampleGen"
    other = gen.TablesExampleGen("gs://bucket/ratings", code_fingerprint="b")
    assert node.exec_properties != other.exec_properties


@pytest.mark.slow
def test_an_edit_of_a_table_makes_a_new_artifact_and_nothing_else_does(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "in[1]"
    folder.mkdir()
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")

    def run() -> tuple[list[int], Any]:
        """States of all executions so far, and the artifact made last."""
        local_dag_runner.LocalDagRunner().run(
            tfx_pipeline.Pipeline(
                pipeline_name="tables",
                pipeline_root=str(tmp_path / "root"),
                metadata_connection_config=connection,
                enable_cache=True,
                components=[gen.TablesExampleGen(str(folder), code_fingerprint="a")],
                beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=none"],
            )
        )
        with metadata.Metadata(connection) as handle:
            states = [execution.last_known_state for execution in handle.store.get_executions()]
            return states, handle.store.get_artifacts_by_type("Examples")[-1]

    done, cached = metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED
    states, artifact = run()
    assert (states, records_in(artifact, "titles")) == ([done], [])
    (folder / "ratings.csv").write_text("user_id,movie_title,user_rating\n")
    assert run()[0] == [done, cached]
    (folder / "titles.csv").write_text(TITLES, encoding="utf-8")
    states, artifact = run()
    assert states == [done, cached, done]
    assert len(records_in(artifact, "titles")) == 3


def test_a_table_that_is_not_what_was_prepared_is_noted_and_taken(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source.csv"
    source.write_text("user_id,movie_title,user_rating,release_year,user_age\n1,Heat,4,1995,30\n2,Speed,3,1994,31\n")
    prepare(source, tmp_path / "data")
    with Notes() as told:
        run_executor(tmp_path / "data", tmp_path / "as prepared")
    assert told.lines == []
    table = tmp_path / "data" / "titles.csv"
    before = hashlib.sha256(table.read_bytes()).hexdigest()
    table.write_bytes(table.read_bytes().replace(b"1995", b"1895"))
    (tmp_path / "data" / "users.csv").unlink()
    record = tmp_path / "data" / "ratings.json"
    with Notes() as told:
        examples = run_executor(tmp_path / "data", tmp_path / "as they are")
    assert told.lines == [
        f"{table} has changed since {record} recorded it, from SHA-256 {before} to "
        f"{hashlib.sha256(table.read_bytes()).hexdigest()}; it is taken as it is",
        f"{tmp_path / 'data' / 'users.csv'} is gone since {record} recorded it; the run goes on without",
    ]
    assert records_in(examples, "titles")[0]["release_year"] == [1895]
    record.write_text('{"rating_scale": [1, 5]}')
    with Notes() as told:
        run_executor(tmp_path / "data", tmp_path / "by hand")
    assert told.lines == []
