import os
import pathlib

import pytest
import tensorflow as tf

from modules.training_log import open_log


def points(folder: pathlib.Path) -> list[tuple[str, int, float, str]]:
    (file,) = folder.iterdir()
    events = tf.compat.v1.train.summary_iterator(str(file))
    return [
        (value.tag, event.step, float(tf.make_ndarray(value.tensor)), value.metadata.plugin_data.plugin_name)
        for event in events
        for value in event.summary.value
    ]


def test_points_are_scalars_of_tensorboard(tmp_path):
    with open_log(str(tmp_path / "run")) as log:
        log("loss", 2.5, 1)
        log("loss", 1.25, 2)
    assert points(tmp_path / "run") == [("loss", 1, 2.5, "scalars"), ("loss", 2, 1.25, "scalars")]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not tell which files are open")
def test_the_file_is_closed_at_the_end(tmp_path):
    def is_open() -> bool:
        files = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
        return any(os.path.dirname(each) == os.path.realpath(tmp_path) for each in files)

    with open_log(str(tmp_path)) as log:
        log("loss", 2.5, 1)
        assert is_open()
    assert not is_open()


def test_tensorboard_reads_them(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with open_log(str(tmp_path)) as log:
        log("loss", 2.5, 7)
    reader = accumulator.EventAccumulator(str(tmp_path))
    reader.Reload()
    (event,) = reader.Tensors("loss")
    assert (event.step, float(tf.make_ndarray(event.tensor_proto))) == (7, 2.5)
    assert reader.SummaryMetadata("loss").plugin_data.plugin_name == "scalars"


def test_what_was_written_before_an_error_is_kept(tmp_path):
    def fail() -> None:
        with open_log(str(tmp_path)) as log:
            log("loss", 2.5, 1)
            raise RuntimeError("training stopped")

    with pytest.raises(RuntimeError, match="training stopped"):
        fail()
    assert [step for _, step, _, _ in points(tmp_path)] == [1]


def test_without_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_log(None) as log:
        log("loss", 2.5, 1)
    assert list(tmp_path.iterdir()) == []
