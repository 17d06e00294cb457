"""Files of examples that are cut, or missing, are told by the names of those that are there."""

from __future__ import annotations

import pathlib

import pytest

from components import example_files
from modules import dataset, example_shards, paths
from modules.errors import UserError
from tests import support


def write(folder: pathlib.Path, named: list[int], written: list[int]) -> list[str]:
    """Files whose names say one number of rows, and which hold another."""
    folder.mkdir(exist_ok=True)
    names = [example_shards.name_of(index, len(named), rows) for index, rows in enumerate(named)]
    for name, rows in zip(names, written, strict=True):
        support.write_examples(folder / name, support.ROWS[:rows])
    return [str(folder / name) for name in names]


def test_a_name() -> None:
    assert example_shards.name_of(2, 13, 4031) == "data_tfrecord-00002-of-00013.4031-rows.gz"


def test_a_file_that_was_cut_at_a_record_is_told_by_its_end(tmp_path: pathlib.Path) -> None:
    whole, cut = write(tmp_path, [3, 4], [3, 2])
    assert sum(len(batch) for batch in example_files.read_serialized(whole)) == 3
    batches = example_files.read_serialized(cut, 1)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(UserError, match=r"expected 4 examples in .*4-rows\.gz, as the names say; got 2; .* run again"):
        next(batches)


def test_what_is_fitted_on_has_all_rows(tmp_path: pathlib.Path) -> None:
    files = write(tmp_path, [2, 3], [2, 3])
    arguments = (files, support.analyze(support.ROWS), support.side_features())
    scale = {"low": -9.0, "high": 9.0, "report": lambda text: None}
    assert len(dataset.load_ratings(*arguments, **scale)) == 5
    write(tmp_path, [2, 3], [2, 1])
    with pytest.raises(UserError, match="expected 5 examples"):
        dataset.load_ratings(*arguments, **scale)


def test_a_file_that_is_missing(tmp_path: pathlib.Path) -> None:
    files = write(tmp_path, [1, 1, 1], [1, 1, 1])
    assert paths.files_of(str(tmp_path)) == files
    pathlib.Path(files[1]).unlink()
    with pytest.raises(UserError, match=r"expected 3 example files, .* got 2; run again"):
        paths.files_of(str(tmp_path))


@pytest.mark.parametrize("names", [["a.gz"], ["data_tfrecord-00000-of-00001.gz"], ["data_tfrecord-00000-of-00001"]])
def test_names_of_others_say_nothing_of_rows(names: list[str]) -> None:
    example_shards.check_files(names)
    example_shards.check_rows(names, 5)


def test_files_that_say_nothing_beside_one_that_does() -> None:
    example_shards.check_rows(["a.gz", example_shards.name_of(0, 1, 3)], 5)
    with pytest.raises(UserError, match="got 5"):
        example_shards.check_rows([example_shards.name_of(0, 1, 3)], 5)
