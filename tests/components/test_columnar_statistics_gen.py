"""ColumnarStatisticsGen against TFX's own StatisticsGen on the same examples."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import executor as tfx_statistics_gen
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts

from components import columnar_statistics_gen, curated_schema
from components.columnar_statistics_gen import ColumnarStatisticsGen
from tests import support

SPLITS = ("train", "eval", "empty")


def rows(number: int, seed: int) -> list[dict]:
    """Ratings of which some lack side features, and titles that are not ASCII."""
    rng = np.random.default_rng(seed)
    return [
        {
            "user_id": f"u{rng.integers(40)}",
            "movie_title": f"Élan {int(rng.exponential(300))} (1995)",
            "user_rating": float(rng.integers(1, 11)) / 2,
            "genres": [str(each) for each in rng.choice(["Crime", "Drama", "Sci-Fi"], rng.integers(4), replace=False)],
            "user_age": [int(rng.integers(90))] if rng.random() < 0.7 else [],
        }
        for _ in range(number)
    ]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Examples:
    """Split `train` of two files with a batch and more, `eval` of one, `empty` of one without examples."""
    folder = tmp_path_factory.mktemp("examples")
    for split in SPLITS:
        (folder / f"Split-{split}").mkdir()
    support.write_examples(folder / "Split-train" / "data_tfrecord-00000-of-00002.gz", rows(9000, seed=1))
    support.write_examples(folder / "Split-train" / "data_tfrecord-00001-of-00002.gz", rows(500, seed=2))
    support.write_examples(folder / "Split-eval" / "data_tfrecord-00000-of-00001.gz", rows(300, seed=3))
    support.write_examples(folder / "Split-empty" / "data_tfrecord-00000-of-00001.gz", [])
    made = standard_artifacts.Examples()
    made.uri, made.span = str(folder), 7
    made.split_names = artifact_utils.encode_split_names(list(SPLITS))
    return made


def describe(
    executor: type[base_beam_executor.BaseBeamExecutor],
    examples: standard_artifacts.Examples,
    folder: pathlib.Path,
    beam_pipeline_args: Sequence[str] = (),
) -> standard_artifacts.ExampleStatistics:
    made = standard_artifacts.ExampleStatistics()
    made.uri = str(folder / executor.__name__)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_pipeline_args), tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    executor(context).Do({"examples": [examples]}, {"statistics": [made]}, {"code_fingerprint": ""})
    return made


@pytest.fixture(scope="module")
def ours(
    examples: standard_artifacts.Examples, tmp_path_factory: pytest.TempPathFactory
) -> standard_artifacts.ExampleStatistics:
    return describe(ColumnarStatisticsGen.EXECUTOR_SPEC.executor_class, examples, tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(
    examples: standard_artifacts.Examples, tmp_path_factory: pytest.TempPathFactory
) -> standard_artifacts.ExampleStatistics:
    return describe(tfx_statistics_gen.Executor, examples, tmp_path_factory.mktemp("theirs"))


def features(
    artifact: standard_artifacts.ExampleStatistics, split: str
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    (dataset,) = curated_schema.read_statistics(artifact, split).datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


def differences(one: Message, other: Message, where: str) -> list[str]:
    """Fields that differ, floating-point numbers by more than a millionth of a millionth."""
    found = []
    for field in one.DESCRIPTOR.fields:
        mine, yours = getattr(one, field.name), getattr(other, field.name)
        many = field.label == field.LABEL_REPEATED
        pairs = list(zip(mine, yours, strict=False)) if many else [(mine, yours)]
        if many and len(mine) != len(yours):
            found.append(f"{where}.{field.name}: {len(mine)} and {len(yours)} values")
        for left, right in pairs:
            if field.message_type:
                found += differences(left, right, f"{where}.{field.name}")
            elif left != right and not (isinstance(left, float) and math.isclose(left, right, rel_tol=1e-12)):
                found.append(f"{where}.{field.name}: {left!r} and {right!r}")
    return found


@pytest.mark.parametrize("split", ["train", "eval"])
def test_statistics_are_those_of_tfx(
    ours: standard_artifacts.ExampleStatistics, theirs: standard_artifacts.ExampleStatistics, split: str
) -> None:
    mine, yours = features(ours, split), features(theirs, split)
    assert list(mine) == sorted(mine) == sorted(yours)
    assert {name: differences(mine[name], yours[name], name) for name in mine} == {name: [] for name in mine}


def test_the_titles_are_more_than_a_small_sketch_could_tell_apart(ours: standard_artifacts.ExampleStatistics) -> None:
    assert features(ours, "train")["movie_title"].string_stats.unique > 1024


def test_an_empty_split_has_no_examples(
    ours: standard_artifacts.ExampleStatistics, theirs: standard_artifacts.ExampleStatistics
) -> None:
    for artifact in (ours, theirs):
        (dataset,) = curated_schema.read_statistics(artifact, "empty").datasets
        assert (dataset.num_examples, len(dataset.features)) == (0, 0)


def test_the_artifact_tells_the_splits_and_the_span(
    ours: standard_artifacts.ExampleStatistics, theirs: standard_artifacts.ExampleStatistics
) -> None:
    assert (ours.split_names, ours.span) == (theirs.split_names, theirs.span)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_examples_give_the_same_bytes_by_any_number_of_workers(
    ours: standard_artifacts.ExampleStatistics,
    examples: standard_artifacts.Examples,
    tmp_path: pathlib.Path,
    workers: int,
) -> None:
    arguments = [
        "--runner=FnApiRunner", f"--direct_num_workers={workers}",
        f"--direct_running_mode={'in_memory' if workers == 1 else 'multi_threading'}",
    ]  # fmt: skip
    again = describe(ColumnarStatisticsGen.EXECUTOR_SPEC.executor_class, examples, tmp_path, arguments)
    for split in SPLITS:
        one, other = (pathlib.Path(each.uri, f"Split-{split}", "FeatureStats.pb") for each in (ours, again))
        assert one.read_bytes() == other.read_bytes()


def test_the_order_in_which_files_are_measured_changes_no_bit(tmp_path: pathlib.Path) -> None:
    ratings = np.random.default_rng(7).normal(size=(5, 50)).tolist()
    paths = [
        support.write_examples(tmp_path / f"{number}.gz", [{"user_rating": rating} for rating in part])
        for number, part in enumerate(ratings)
    ]
    written = set()
    for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (3, 0, 4, 1, 2)):
        partials = [(number, columnar_statistics_gen.measure(paths[number])) for number in order]
        columnar_statistics_gen._merge_and_write(partials, str(tmp_path / "statistics"))
        written.add((tmp_path / "statistics").read_bytes())
    assert len(written) == 1


def test_features_stand_in_the_order_of_their_names_whichever_file_has_them_first(tmp_path: pathlib.Path) -> None:
    ones = [{"user_rating": 4.0}, {"movie_title": "Heat"}, {"genres": ["Crime"]}]
    partials = [
        columnar_statistics_gen.measure(support.write_examples(tmp_path / f"{number}.gz", [row]))
        for number, row in enumerate(ones)
    ]
    (dataset,) = columnar_statistics_gen.extract(columnar_statistics_gen.merge(partials)).datasets
    assert [feature.path.step[0] for feature in dataset.features] == ["genres", "movie_title", "user_rating"]
    assert dataset.num_examples == 3


@pytest.mark.parametrize("lacking", [(1,), (0, 1)])
def test_what_lacks_a_generators_part_is_refused(tmp_path: pathlib.Path, lacking: tuple[int, ...]) -> None:
    partials = [
        columnar_statistics_gen.measure(support.write_examples(tmp_path / f"{number}.gz", [{"user_rating": 4.0}]))
        for number in range(2)
    ]
    for number in lacking:
        partials[number].pop()
    with pytest.raises(ValueError, match="argument 2 is shorter than argument 1"):
        columnar_statistics_gen.merge(partials)
