"""Training on two devices and on two workers against training on one, in real processes on this machine."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from modules import distribution, presets, serving, trainer
from modules.metrics import rmse
from tests.support import analyze, write_examples, write_tables

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = pathlib.Path(__file__).with_name("distributed_training.py")
LIMIT_S = 120
SEVERAL = [name for name, preset in presets.PRESETS.items() if preset.distributes]
# Of 7 x 64 + 1 ratings, so that in the last batch one of two replicas has nothing to do.
RATINGS = 449
MODELS = {"notebook": {"batch_size": 64, "epochs": 3}, "fast": {"epochs": 2, "steps": 10}, "default": {}}


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    rng = np.random.default_rng(3)
    user, title = np.nonzero(rng.random((25, 30)) < 0.8)
    taste, quality = rng.normal(size=25), rng.normal(size=30)
    kept = rng.permutation(len(user))[:RATINGS]
    return [
        {
            "user_id": f"user {u}",
            "movie_title": f"Title {t}",
            "user_rating": float(np.clip(3 + taste[u] + quality[t], 1, 5)),
        }
        for u, t in zip(user[kept], title[kept], strict=True)
    ]


@pytest.fixture(scope="module")
def arguments(rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Makes the arguments of `run_fn`, with folders of its own for the process `name`."""
    folder = tmp_path_factory.mktemp("distribution")
    output, tables = analyze(rows), write_tables(folder / "tables")
    (folder / "train").mkdir()
    examples = write_examples(folder / "train" / "rows.gz", rows)

    def make(name: str, strategy: str, preset: str) -> dict[str, Any]:
        settings = {
            "preset": preset, "model": MODELS[preset], "seed": 3, "strategy": strategy,
            "rating_scale": [1.0, 5.0], "has_eval": False, "retrieval": "none", "tables": tables,
        }  # fmt: skip
        return {
            "train_files": [examples], "eval_files": [], "train_steps": 0, "eval_steps": 0, "custom_config": settings,
            "transform_output": str(pathlib.Path(output.transform_savedmodel_dir).parent),
            "serving_model_dir": str(folder / name / "model"), "model_run_dir": str(folder / name / "logs"),
        }  # fmt: skip

    return make


def start(*arguments: dict[str, Any], cluster: dict[str, Any] | None = None, devices: str = "") -> subprocess.Popen:
    """Starts a process that trains once for each of the arguments; see `distributed_training` on devices."""
    path = pathlib.Path(arguments[0]["serving_model_dir"]).parent / "arguments.json"
    path.parent.mkdir()
    path.write_text(json.dumps(arguments))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_USE_LEGACY_KERAS": "1"}
    environment.pop("TF_CONFIG", None)
    if cluster is not None:
        environment["TF_CONFIG"] = json.dumps(cluster)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), devices],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(*processes: subprocess.Popen) -> None:
    try:
        outputs = [process.communicate(timeout=LIMIT_S)[0].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]


def predictions(folder: str, rows: list[dict]) -> np.ndarray:
    answer = tf.saved_model.load(folder).signatures["predict"](
        **{name: tf.constant([row[name] for row in rows]) for name in ("user_id", "movie_title")}
    )
    return answer[serving.PREDICTED_RATING].numpy()[:, 0]


@pytest.fixture(scope="module")
def on_one_device(rows: list[dict], arguments: Callable[..., dict[str, Any]]) -> dict[str, np.ndarray]:
    """Predictions of each preset."""
    expected = {}
    for preset in SEVERAL:
        single = arguments(f"one {preset}", "none", preset)
        trainer.run_fn(FnArgs(**single))
        expected[preset] = predictions(single["serving_model_dir"], rows)
        # The comparison means something only if the fit went somewhere.
        assert rmse(stars(rows), expected[preset]) < 0.8 * np.std(stars(rows))
    return expected


def stars(rows: list[dict]) -> np.ndarray:
    return np.array([row["user_rating"] for row in rows])


def check(rows: list[dict], found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert rmse(stars(rows), found) == pytest.approx(rmse(stars(rows), expected), abs=1e-4)


@pytest.mark.slow
def test_two_devices_fit_what_one_does(rows, arguments, on_one_device) -> None:
    several = {preset: arguments(f"mirrored {preset}", "mirrored", preset) for preset in SEVERAL}
    finish(start(*several.values()))
    for preset, each in several.items():
        check(rows, predictions(each["serving_model_dir"], rows), on_one_device[preset])
        assert list(pathlib.Path(each["model_run_dir"]).rglob("events*"))


@pytest.mark.slow
def test_two_devices_with_the_sums_of_gpus_fit_what_one_does(rows, arguments, on_one_device) -> None:
    several = arguments("mirrored for GPUs", "mirrored", "fast")
    finish(start(several, devices="gpus"))
    check(rows, predictions(several["serving_model_dir"], rows), on_one_device["fast"])


@pytest.mark.slow
def test_two_workers_fit_what_one_does_and_one_of_them_writes(rows, arguments, on_one_device) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]}
    chief, worker = (
        {preset: arguments(f"{place} {preset}", "multi_worker", preset) for preset in SEVERAL} for place in range(2)
    )
    finish(*(
        start(*each.values(), cluster={"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index, each in enumerate((chief, worker))
    ))  # fmt: skip
    for preset in SEVERAL:
        check(rows, predictions(chief[preset]["serving_model_dir"], rows), on_one_device[preset])
        assert list(pathlib.Path(chief[preset]["model_run_dir"]).rglob("events*"))
        assert not os.path.exists(worker[preset]["serving_model_dir"])
        assert not os.path.exists(worker[preset]["model_run_dir"])


@pytest.mark.parametrize(
    ("jobs", "task", "expected"),
    [
        (["worker"], ("worker", 0), True),
        (["worker"], ("worker", 1), False),
        (["chief", "worker"], ("chief", 0), True),
        (["chief", "worker"], ("worker", 0), False),
    ],
)
def test_the_chief_is_the_named_one_or_the_first_worker(jobs: list[str], task: tuple[str, int], expected: bool) -> None:
    spec = tf.train.ClusterSpec({job: ["a:1", "b:1"] for job in jobs})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, task_type=task[0], task_id=task[1])
    assert distribution.is_chief(types.SimpleNamespace(cluster_resolver=resolver)) is expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "host0:2222",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_cluster_that_is_none_is_refused(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"TF_CONFIG.*got.*set it for every worker, such as TF_CONFIG="):
        distribution.create("multi_worker")


def test_what_is_no_cluster_at_all_is_so_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, fault in (("[]", r"\(as a whole: .*object"), ('{"cluster": {}}', r"\(task: Field required\)")):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match=fault):
            distribution.create("multi_worker")


def test_all_devices_of_one_process_need_no_others() -> None:
    strategy = distribution.create("mirrored")
    assert distribution.create("mirrored") is strategy
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    assert strategy.num_replicas_in_sync == len(devices)
    assert distribution.is_chief(strategy)
    distribution.wait_for_all(strategy)
    distribution.wait_for_all(None)


@pytest.mark.parametrize("gpus", [[], ["/gpu:0", "/gpu:1"]])
def test_all_gpus_are_mirrored_over_or_else_all_cpus(monkeypatch: pytest.MonkeyPatch, gpus: list[str]) -> None:
    cpus = ["/cpu:0", "/cpu:1"]
    found = {
        kind: [types.SimpleNamespace(name=name) for name in names] for kind, names in (("GPU", gpus), ("CPU", cpus))
    }
    monkeypatch.setattr(tf.config, "list_logical_devices", found.get)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", list)
    assert distribution.create.__wrapped__("mirrored") == (gpus or cpus)


def test_workers_must_come_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    tf.ones([]).numpy()
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(RuntimeError, match=r"come first in a process.*take strategy mirrored"):
        distribution.create("multi_worker")


def test_none_is_no_strategy() -> None:
    assert distribution.create("none") is None
    assert distribution.is_chief(None)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="strategy must be one of none, mirrored, multi_worker; got 'tpu'"):
        distribution.create("tpu")


@pytest.mark.parametrize("preset", sorted(set(presets.PRESETS) - set(SEVERAL)))
def test_presets_that_take_no_strategy_are_refused(preset: str, arguments) -> None:
    presets.check_strategy(preset, "none")
    with pytest.raises(ValueError, match=f"strategy mirrored needs a preset.*got {preset}.*or strategy none"):
        presets.check_strategy(preset, "mirrored")
    # Trainer refuses too, since a submission may set the preset.
    settings = arguments(f"{preset} refused", "mirrored", preset)
    with pytest.raises(ValueError, match=f"needs a preset that trains on several devices.*got {preset}"):
        trainer.run_fn(FnArgs(**settings))
