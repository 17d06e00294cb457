"""Components whose data and artifacts are on no disk: TensorFlow's in-memory file system stands for remote storage.

What opened, listed or joined paths as if they were local would not find them. Beam knows that file system by the class
below, as it knows Cloud Storage by one of its own. Transform and what follows are left out: TensorFlow Transform
renames folders, and folders that are renamed in memory lose their files.
"""

from __future__ import annotations

import io
import pathlib
import posixpath
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.io import filesystem
from tfx.dsl.io import filesystem_registry
from tfx.dsl.io.plugins import tensorflow_gfile
from tfx.orchestration.pipeline import RunOptions

from components import evaluation_files
from data import synthetic
from modules import side_tables
from pipeline.config import locations
from pipeline.config.component_order import COMPONENTS
from pipeline.config.pipeline_config import PipelineConfig
from pipeline.graph.pipeline import create_pipeline
from pipeline.local import results
from pipeline.local.dag_runner import LocalRunner
from pipeline.local.observers import PlainObserver, terminal

pytestmark = pytest.mark.slow

SCHEME = "ram"
ROOT = f"{SCHEME}://remote"
ROWS = 3_000


AUTO = filesystem.CompressionTypes.AUTO


class _Written(io.BytesIO):
    """Becomes a file when it is closed; files that are open for writing there do not tell their position."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path, self.mode = path, "wb"

    def close(self) -> None:
        if not self.closed:
            with tf.io.gfile.GFile(self._path, "wb") as file:
                file.write(self.getvalue())
        super().close()


def _compressed(file: Any, path: str, compression_type: str) -> Any:
    if compression_type == AUTO:
        compression_type = filesystem.CompressionTypes.detect_compression_type(path)
    if compression_type == filesystem.CompressionTypes.UNCOMPRESSED:
        return file
    return filesystem.CompressedFile(file, compression_type)


class RamForTfx(tensorflow_gfile.TensorflowFilesystem):
    SUPPORTED_SCHEMES = [f"{SCHEME}://"]  # noqa: RUF012


class RamForBeam(filesystem.FileSystem):
    """What the components ask of Beam's file systems."""

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return posixpath.join(basepath, *paths)

    def split(self, path: str) -> tuple[str, str]:
        return posixpath.split(path)

    def has_dirs(self) -> bool:
        return True

    def mkdirs(self, path: str) -> None:
        tf.io.gfile.makedirs(path)

    def _list(self, dir_or_prefix: str) -> Iterator[filesystem.FileMetadata]:
        for path in tf.io.gfile.glob(dir_or_prefix.rstrip("/") + "/*"):
            yield filesystem.FileMetadata(path, tf.io.gfile.stat(path).length)

    def create(self, path: str, mime_type: str = "", compression_type: str = AUTO) -> Any:
        return _compressed(_Written(path), path, compression_type)

    def open(self, path: str, mime_type: str = "", compression_type: str = AUTO) -> Any:
        return _compressed(tf.io.gfile.GFile(path, "rb"), path, compression_type)

    def copy(self, sources: list[str], destinations: list[str]) -> None:
        for source, destination in zip(sources, destinations, strict=True):
            tf.io.gfile.copy(source, destination, overwrite=True)

    def rename(self, sources: list[str], destinations: list[str]) -> None:
        for source, destination in zip(sources, destinations, strict=True):
            tf.io.gfile.rename(source, destination, overwrite=True)

    def exists(self, path: str) -> bool:
        return tf.io.gfile.exists(path)

    def size(self, path: str) -> int:
        return tf.io.gfile.stat(path).length

    def last_updated(self, path: str) -> float:
        return tf.io.gfile.stat(path).mtime_nsec / 1e9

    def checksum(self, path: str) -> str:
        return str(self.size(path))

    def metadata(self, path: str) -> filesystem.FileMetadata:
        return filesystem.FileMetadata(path, self.size(path))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            tf.io.gfile.rmtree(path) if tf.io.gfile.isdir(path) else tf.io.gfile.remove(path)


@pytest.fixture(autouse=True)
def known_to_tfx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "REMOTE_SCHEMES", (*locations.REMOTE_SCHEMES, f"{SCHEME}://"))
    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(RamForTfx, priority=0)
    tf.io.gfile.makedirs(f"{ROOT}/data")


def test_data_and_artifacts_may_be_remote(tmp_path: pathlib.Path) -> None:
    synthetic.write(tmp_path / "data", rows=ROWS, users=40, titles=80, seed=1, side_features=True)
    for name in ("ratings.csv", "titles.csv"):
        tf.io.gfile.copy(str(tmp_path / "data" / name), f"{ROOT}/data/{name}")
    config = PipelineConfig(
        data={"root": f"{ROOT}/data"},
        output=str(tmp_path / "output"),
        artifacts=f"{ROOT}/artifacts",
        trainer={"preset": "notebook"},
    )
    pipeline = create_pipeline(config)
    runner = LocalRunner(str(tmp_path / "output" / "logs"), PlainObserver(terminal()))
    names = list(COMPONENTS[: COMPONENTS.index("AnomalyGate") + 1])
    runner.run(pipeline, run_options=RunOptions(from_nodes=names, to_nodes=names))
    assert set(runner.executions) == set(names)
    assert sum(results.read(config.metadata_path, runner.executions).split_sizes.values()) == ROWS
    assert {path.name for path in (tmp_path / "output").iterdir()} == {"logs", "metadata.sqlite"}
    assert tf.io.gfile.glob(f"{ROOT}/artifacts/RatingsExampleGen/examples/*/Split-test/*.gz")
    (uri,) = tf.io.gfile.glob(f"{ROOT}/artifacts/TablesExampleGen/examples/*")
    read = side_tables.read(uri)
    assert (len(read.titles.ids), len(read.users.ids)) == (80, 0)


def test_an_evaluation_is_written_to_and_read_from_a_remote_folder() -> None:
    evaluation = {(): {"candidate": {"root_mean_squared_error": 0.9}}, ("user_activity", "3-9"): {"candidate": {}}}
    config = evaluation_files.create_eval_config(["candidate"], rmse_bound=0.8, max_regression=0.0, baseline=None)
    tf.io.gfile.makedirs(f"{ROOT}/evaluation")
    evaluation_files.write(f"{ROOT}/evaluation", evaluation, config, data="", locations={"candidate": ""})
    assert evaluation_files.read(f"{ROOT}/evaluation")[()] == evaluation[()]
    assert not tfma.load_validation_result(f"{ROOT}/evaluation").validation_ok
