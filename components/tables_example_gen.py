"""TablesExampleGen: what is known of titles and users, from CSV files to tf.Examples."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

from apache_beam.io import filesystems
from tfx import types
from tfx.components.example_gen import component, write_split
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs

from components import example_encoder, example_files
from components.ratings_example_gen import Driver, packed_fingerprint
from data import reader, tables
from data.errors import DataError
from data.rejects import Rejects
from data.sidecar import Sidecar
from modules.features import SIDE_TABLES, Column, Table
from modules.normalization import normalize
from modules.notes import note


def read_table(path: str, table: Table) -> Iterator[bytes]:
    """Reads a side table as serialized tf.Examples, in the order of its rows.

    Raises:
      LayoutError: the header is missing, lacks the key, repeats a column or has one that is not known.
      RowError: a row is of bad form, its key is empty or that of an earlier row, or a value is none of its column's.
    """
    file = tables.csv_table(path, table.columns, filesystems.FileSystems.open)
    for key, values in reader.side_rows(file, table, Rejects(remedy=tables.PREPARE)):
        lists = {table.key: [key], **{column: _values(column, value) for column, value in values.items()}}
        yield example_encoder.encode_example(
            example_encoder.encode_feature(column, lists[column])
            for column in sorted(lists, key=lambda each: each.name)
        )


def _values(column: Column, value: str | int | None) -> list[Any]:
    """The values of a cell: one, none where it is empty, or any number of genres."""
    if column.multivalent:
        return [genre for genre in map(normalize, str(value or "").split("|")) if genre]
    return [] if value is None else [value]


def _changes(base: str) -> list[str]:
    """Which tables are not those that were prepared, as far as it is known here, where no record is needed."""
    try:
        return Sidecar.read(base).changes_of_side_tables(base)
    except DataError:
        return []


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads the tables where it runs; they are small beside the ratings, and Beam has nothing to share out."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes one file of examples for each side table, empty where there is no such table.

        A table on this machine that is not the one that was prepared is noted.

        Args:
          input_dict: empty.
          output_dict: `examples`, one artifact.
          exec_properties: `input_base`; the file of a table is that of `modules.features`.

        Raises:
          DataError: a table cannot be read, with the file and, for a RowError, the line.
        """
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        examples.split_names = artifact_utils.encode_split_names([table.name for table in SIDE_TABLES])
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        for change in _changes(base):
            note(change)
        for table in SIDE_TABLES:
            source = os.path.join(base, table.file)
            folder = artifact_utils.get_split_uri([examples], table.name)
            fileio.makedirs(folder)
            target = os.path.join(folder, f"{write_split.DEFAULT_TF_RECORD_FILE_NAME}-00000-of-00001.gz")
            rows = list(read_table(source, table)) if fileio.exists(source) else []
            with example_files.open_writer(target) as writer:
                for example in rows:
                    writer.write(example)
            logging.getLogger(__name__).info("%d rows of %s", len(rows), source)
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP))


class TablesExampleGen(component.FileBasedExampleGen):
    """Reads `titles.csv` and `users.csv` into tf.Examples: what is known of titles and users, rated or not.

    Types, bounds and keys are those of `modules.features.SIDE_TABLES`; every row is checked by the reader of
    `movie-ranking data prepare`. TFX's driver takes the fingerprint of the files, so that an edit of a table makes a
    new artifact, and what takes it as an input runs again, and nothing else does. Each table and each column of it but
    the key is optional.

    CsvExampleGen, the stock one, guesses the types of columns, takes no notice of bounds and of keys that stand twice,
    fails where a file is missing, and would split a table by hash. This one needs no Beam: 0.1 s for the 1,664 titles
    and 943 users of MovieLens 100K (`make bench`, two cores, legacy lane). What it cannot do: share a table out among
    workers, or read other columns than the project's.

    Outputs:
      examples: a gzipped TFRecord file of tf.Examples for each of the splits `titles` and `users`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(self, input_base: str | data_types.RuntimeParameter, *, code_fingerprint: str) -> None:
        """Builds the component.

        Args:
          input_base: folder of the tables, that of the ratings.
          code_fingerprint: any text. Outputs are taken from the cache only while it stays the same, as TFX does not
            notice edits of the code.
        """
        splits = [example_gen_pb2.Input.Split(name=table.name, pattern=table.file) for table in SIDE_TABLES]
        super().__init__(
            input_base=input_base,
            input_config=example_gen_pb2.Input(splits=splits),
            output_config=example_gen_pb2.Output(),
            custom_config=packed_fingerprint(code_fingerprint),
        )
