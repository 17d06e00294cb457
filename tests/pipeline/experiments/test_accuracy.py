"""The accuracy benchmark on ratings small enough to check it by hand, with methods whose answers are known."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from rich.console import Console

from data import fetch, synthetic
from data.errors import DataError
from data.progress import silent
from data.sidecar import Sidecar
from modules import baselines, metrics
from modules.ratings import Ratings
from pipeline import cli
from pipeline.exit_codes import ExitCode
from pipeline.experiments import accuracy, accuracy_table, peers, splits
from pipeline.experiments.accuracy import Answer, Method
from pipeline.experiments.accuracy_table import Measurement
from pipeline.experiments.fit_time import FitTime
from pipeline.local.task_display import TaskDisplay

ROWS, TRAIN_ROWS = 1_200, 900


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder with train/ and test/, side features included."""
    root = tmp_path_factory.mktemp("data")
    synthetic.write(root / "all", rows=ROWS, users=30, titles=60, seed=4, side_features=True)
    splits.split_as_the_notebook(root / "all", root / "split", TRAIN_ROWS)
    return root / "split"


def rows_of(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measurement(split: str, method: str, seed: int, errors: np.ndarray, kind: str = "preset", **values) -> Measurement:
    squared = np.square(errors)
    filled = dict.fromkeys(("mae", "ndcg_at_10", "pairwise_accuracy", "fit_seconds", "fit_cpu_seconds"), 0.0)
    return Measurement(
        split=split,
        method=method,
        kind=kind,
        seed=seed,
        rmse=float(np.sqrt(squared.mean())),
        squared_errors=squared,
        **{**filled, **values},
    )


class TestSplits:
    def test_rows_are_those_of_the_notebooks_own_pipeline(self, folder: pathlib.Path) -> None:
        """Against `shuffle` and `take` over the sorted rows themselves, as the notebook has them."""
        rows = rows_of(folder.parent / "all" / "ratings.csv")
        rows.sort(key=lambda row: (int(row["user_id"]), row["movie_title"]))
        tf.random.set_seed(42)
        dataset = tf.data.Dataset.from_tensor_slices(["\t".join(row.values()) for row in rows])
        shuffled = dataset.shuffle(100_000, seed=42, reshuffle_each_iteration=False)
        for split, part in (("train", shuffled.take(TRAIN_ROWS)), ("test", shuffled.skip(TRAIN_ROWS).take(300))):
            expected = [text.decode() for text in part.as_numpy_iterator()]
            assert ["\t".join(row.values()) for row in rows_of(folder / split / "ratings.csv")] == expected

    def test_the_record_is_that_of_the_two_parts(self, folder: pathlib.Path) -> None:
        sidecar = Sidecar.read(folder)
        assert {file.name: file.rows for file in sidecar.files} == {
            "train/ratings.csv": TRAIN_ROWS,
            "test/ratings.csv": ROWS - TRAIN_ROWS,
            "titles.csv": 60,
            "users.csv": 30,
        }
        assert sidecar.matches(folder)
        assert sidecar.rating_scale == (1.0, 5.0)

    def test_the_order_does_not_depend_on_what_was_drawn_before(self) -> None:
        tf.random.set_seed(1)
        first = splits.notebook_order(50)
        tf.random.uniform([3])
        np.testing.assert_array_equal(splits.notebook_order(50), first)
        assert sorted(first) == list(range(50))

    def test_too_few_rows_are_refused(self, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
        with pytest.raises(DataError, match="expected more than 1200 ratings"):
            splits.split_as_the_notebook(folder.parent / "all", tmp_path, ROWS)

    def test_movielens_100k(self, movielens_100k: pathlib.Path, tmp_path: pathlib.Path) -> None:
        """The rows of these two splits, and the baselines' RMSE on them."""
        sources = splits.Sources(movielens_100k=movielens_100k)
        figures = {"notebook": (80_000, 19_693, 1.131, 0.943), "u1": (79_792, 19_971, 1.154, 0.954)}
        for split, (train_rows, test_rows, of_mean, of_bias) in figures.items():
            made = splits.make(split, tmp_path, sources=sources, progress=silent)
            train, test = (accuracy.read_rows(made / part / "ratings.csv") for part in ("train", "test"))
            assert (len(train), len(test)) == (train_rows, test_rows)
            users, titles = (pd.Index(train[name].unique()) for name in ("user_id", "movie_title"))
            ids = [(users.get_indexer(part.user_id), titles.get_indexer(part.movie_title)) for part in (train, test)]
            ratings = Ratings(
                user=ids[0][0],
                title=ids[0][1],
                rating=train.user_rating.to_numpy(np.float32),
                num_users=len(users),
                num_titles=len(titles),
                low=1.0,
                high=5.0,
                user_features=np.zeros((len(users), 0)),
                title_features=np.zeros((len(titles), 0)),
            )
            unknown = [np.where(each < 0, 10**6, each) for each in ids[1]]
            for baseline, figure in ((baselines.GlobalMean, of_mean), (baselines.UserTitleBias, of_bias)):
                predictions = np.clip(baseline.fit(ratings).predict(*unknown), 1.0, 5.0)
                assert metrics.rmse(test.user_rating, predictions) == pytest.approx(figure, abs=6e-4)
            stamp = (made / "train" / "ratings.csv").stat().st_mtime_ns
            splits.make(split, tmp_path, sources=sources, progress=silent)
            assert (made / "train" / "ratings.csv").stat().st_mtime_ns == stamp


class TestTable:
    def test_paired_difference_against_a_bootstrap(self, rng: np.random.Generator) -> None:
        common = rng.normal(size=4_000)
        first = [np.square(common + rng.normal(0, 0.3, 4_000)) for _ in range(2)]
        second = [np.square(common + rng.normal(0, 0.1, 4_000)) for _ in range(2)]
        difference, error = accuracy_table.paired_difference(first, second)

        def rmse_of(seeds: list[np.ndarray], rows: np.ndarray) -> float:
            return float(np.mean([np.sqrt(squared[rows].mean()) for squared in seeds]))

        everything = np.arange(4_000)
        assert difference == pytest.approx(rmse_of(first, everything) - rmse_of(second, everything))
        drawn = [rng.integers(0, 4_000, 4_000) for _ in range(600)]
        spread = np.std([rmse_of(first, rows) - rmse_of(second, rows) for rows in drawn])
        assert error == pytest.approx(spread, rel=0.1)
        # Unpaired, the error would be that of each RMSE alone, several times as large.
        alone = np.std([rmse_of(first, rows) for rows in drawn])
        assert error < 0.5 * alone

    def test_a_method_does_not_differ_from_itself(self, rng: np.random.Generator) -> None:
        squared = [rng.random(10)]
        assert accuracy_table.paired_difference(squared, squared) == (0.0, 0.0)

    def test_means_and_deviations_over_seeds_by_hand(self) -> None:
        one = [
            measurement("u1", "preset a", seed, np.array([error, -error]), mae=error, fit_seconds=seed)
            for seed, error in ((1, 1.0), (2, 1.2))
        ]
        other = measurement("u1", "b", 0, np.array([1.5, 1.5]), kind="baseline")
        row, baseline = accuracy_table.summarize([*one, other])
        assert (row.split, row.method, row.seeds) == ("u1", "preset a", 2)
        assert row.rmse == pytest.approx(1.1)
        assert row.rmse_deviation == pytest.approx(np.sqrt(0.02))
        assert row.mae == pytest.approx(1.1)
        assert row.fit_seconds == pytest.approx(1.5)
        assert (row.difference, row.difference_error) == (None, None)
        assert baseline.rmse_deviation is None
        assert baseline.difference == pytest.approx(0.4)
        assert row.cells()[:5] == ("u1", "preset a", "1.1000 ± 0.1414", "", "")
        assert baseline.cells()[2:5] == ("1.5000", "+0.4000 ± 0.0000", "")

    def test_folds_are_averaged_once_all_are_there(self, rng: np.random.Generator) -> None:
        folds = {fold: rng.normal(size=(2, 2, 50)) * (1 + k) for k, fold in enumerate(accuracy_table.FOLDS)}
        all_measured = [
            measurement(fold, method, seed, errors[k, seed])
            for fold, errors in folds.items()
            for k, method in enumerate(("preset a", "preset b"))
            for seed in (0, 1)
        ]
        rows = accuracy_table.summarize(all_measured)
        assert [row.split for row in rows[-2:]] == [accuracy_table.FOLDS_MEAN] * 2
        by_seed = [np.mean([np.sqrt(np.mean(errors[0, seed] ** 2)) for errors in folds.values()]) for seed in (0, 1)]
        assert rows[-2].rmse == pytest.approx(np.mean(by_seed))
        assert rows[-2].rmse_deviation == pytest.approx(np.std(by_seed, ddof=1))
        singles = [row for row in rows[:-2] if row.method == "preset b"]
        assert rows[-1].difference == pytest.approx(np.mean([row.difference for row in singles]))
        errors = np.array([row.difference_error for row in singles])
        assert rows[-1].difference_error == pytest.approx(np.sqrt((errors**2).sum()) / 5)
        assert len(accuracy_table.summarize(all_measured[4:])) == 8

    def test_files_hold_what_was_measured(self, tmp_path: pathlib.Path) -> None:
        measured = [
            measurement("u1", "preset a", 7, np.array([1.0, 2.0])),
            measurement("u2", "preset a", 7, np.array([1.0])),
        ]
        accuracy_table.save(measured, accuracy_table.summarize(measured), tmp_path)
        results = json.loads((tmp_path / accuracy_table.RESULTS_FILE).read_text())
        assert [(each["split"], each["seed"], each["rmse"]) for each in results["measurements"]] == [
            ("u1", 7, pytest.approx(np.sqrt(2.5))),
            ("u2", 7, 1.0),
        ]
        lines = (tmp_path / accuracy_table.TABLE_FILE).read_text().splitlines()
        assert lines[:3] == ["| test RMSE | u1 | u2 |", "| --- | --- | --- |", "| preset a | 1.5811 | 1.0000 |"]
        assert lines[4] == f"| {' | '.join(accuracy_table.HEADER)} |"
        assert lines[9] == "preset a loses to no other row by more than one standard error."


class TestMeasuring:
    def test_what_was_measured_is_kept_until_something_changes(self, folder, tmp_path: pathlib.Path) -> None:
        calls = []

        def rate(split: accuracy.Split, seed: int) -> Answer:
            calls.append((split.name, seed))
            return Answer(np.full(len(split.test), 9.0 if seed else 3.0), FitTime(seconds=2.0, cpu_seconds=1.0))

        def measure(version: str, seeds: tuple[int, ...] = (0, 1)) -> list[Measurement]:
            method = Method(name="Constant, of 3 or 9", kind="peer", seeds=seeds, version=(version,), answer=rate)
            return accuracy.measure({"mine": folder}, [method], tmp_path, Console(quiet=True))[0]

        first = measure("1")
        assert calls == [("mine", 0), ("mine", 1)]
        labels = np.array([float(row["user_rating"]) for row in rows_of(folder / "test" / "ratings.csv")])
        assert first[0].rmse == pytest.approx(np.sqrt(np.mean((labels - 3) ** 2)))
        # Nine is beyond the scale of one to five.
        np.testing.assert_allclose(first[1].squared_errors, (labels - 5) ** 2)
        assert (first[0].pairwise_accuracy, first[0].fit_seconds, first[0].fit_cpu_seconds) == (0.5, 2.0, 1.0)

        again = measure("1", seeds=(0, 1, 2))
        assert calls[2:] == [("mine", 2)]
        np.testing.assert_array_equal(again[1].squared_errors, first[1].squared_errors)
        assert again[0].as_json() == first[0].as_json()
        measure("2")
        assert len(calls) == 5

    def test_the_noise_floor_is_the_last_row_where_it_is_known(self, folder, tmp_path: pathlib.Path) -> None:
        known = shutil.copytree(folder, tmp_path / "known")
        labels = np.array([float(row["user_rating"]) for row in rows_of(folder / "test" / "ratings.csv")])
        expected = np.linspace(1.0, 5.0, len(labels), dtype=np.float32)
        np.save(known / synthetic.EXPECTED_FILE, expected)
        method = accuracy.baseline_method("global mean")
        method = dataclasses.replace(method, answer=lambda split, seed: Answer(np.full(len(labels), 3.0), FitTime()))
        measured, _ = accuracy.measure(
            {"known": known, "unknown": folder}, [method], tmp_path / "out", Console(quiet=True)
        )
        assert [(each.split, each.method, each.kind) for each in measured] == [
            ("known", "global mean", "baseline"),
            ("known", "noise floor", "floor"),
            ("unknown", "global mean", "baseline"),
        ]
        np.testing.assert_allclose(measured[1].squared_errors, (labels - expected) ** 2, rtol=1e-5)

    def test_data_whose_record_names_no_files_is_told_apart_by_its_bytes(self, folder, tmp_path: pathlib.Path) -> None:
        calls = []

        def rate(split: accuracy.Split, seed: int) -> Answer:
            calls.append(seed)
            return Answer(np.full(len(split.test), 3.0), FitTime())

        own = shutil.copytree(folder, tmp_path / "own")
        (own / "ratings.json").write_text('{"rating_scale": [1, 5]}')
        method = Method(name="three", kind="peer", seeds=(0,), version=(), answer=rate)
        for _ in range(2):
            accuracy.measure({"own": own}, [method], tmp_path / "out", Console(quiet=True))
        assert len(calls) == 1
        with (own / "test/ratings.csv").open("a") as file:
            file.write(f"{rows_of(own / 'test/ratings.csv')[0]['user_id']},Another,5,1\n")
        accuracy.measure({"own": own}, [method], tmp_path / "out", Console(quiet=True))
        assert len(calls) == 2

    def test_an_interrupted_measurement_leaves_the_others(self, folder, tmp_path: pathlib.Path) -> None:
        calls = []

        def rate(split: accuracy.Split, seed: int) -> Answer:
            calls.append(seed)
            if calls == [0, 1]:
                raise KeyboardInterrupt
            return Answer(np.zeros(len(split.test)), FitTime())

        method = Method(name="interrupted", kind="peer", seeds=(0, 1), version=(), answer=rate)
        with pytest.raises(KeyboardInterrupt):
            accuracy.measure({"mine": folder}, [method], tmp_path, Console(quiet=True))
        accuracy.measure({"mine": folder}, [method], tmp_path, Console(quiet=True))
        assert calls == [0, 1, 1]

    @pytest.mark.slow
    def test_presets_and_baselines_through_the_pipeline(self, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
        methods = [
            accuracy.preset_method("fast", [0, 0], {"epochs": 4, "steps": 10}),
            *(accuracy.baseline_method(name) for name in accuracy.BASELINES),
        ]
        console = Console(quiet=True)
        (first, again, *of_baselines), lists = accuracy.measure({"mine": folder}, methods, tmp_path, console)
        np.testing.assert_array_equal(lists[0].ndcg, lists[1].ndcg)
        assert lists[0].ndcg.mean() > 0
        assert first.rmse == again.rmse
        train, test = (rows_of(folder / split / "ratings.csv") for split in ("train", "test"))
        labels = np.array([float(row["user_rating"]) for row in test])
        mean = np.mean([float(row["user_rating"]) for row in train])
        assert of_baselines[0].rmse == pytest.approx(np.sqrt(np.mean((labels - mean) ** 2)), abs=1e-6)
        by_title: dict[str, list[float]] = {}
        for row in train:
            by_title.setdefault(row["movie_title"], []).append(float(row["user_rating"]))
        shrunk = {title: (sum(values) + 5 * mean) / (len(values) + 5) for title, values in by_title.items()}
        predictions = np.array([shrunk.get(row["movie_title"], mean) for row in test])
        assert of_baselines[1].rmse == pytest.approx(np.sqrt(np.mean((labels - predictions) ** 2)), abs=1e-6)
        assert first.rmse < of_baselines[0].rmse
        assert 0.5 < first.pairwise_accuracy < 1

    def test_rows_are_read_as_they_are_written(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "ratings.csv"
        path.write_text('user_id,movie_title,user_rating,timestamp\n007,NA,4.5,\n1e3,"Good, The ""Bad""",1,31\n')
        rows = accuracy.read_rows(path)
        assert rows.user_id.tolist() == ["007", "1e3"]
        assert rows.movie_title.tolist() == ["NA", 'Good, The "Bad"']
        assert rows.user_rating.tolist() == [4.5, 1.0]
        assert np.isnan(rows.timestamp[0])

    def test_peers_get_the_rows_and_the_side_tables(self, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
        with TaskDisplay(Console(quiet=True), 1) as display:
            task = accuracy.Split("mine", folder, tmp_path / "output", display).task
            ages = {row["user_id"]: float(row["user_age"]) for row in rows_of(folder / "users.csv")}
            assert task.users["user_age"].to_dict() == ages
            assert len(task.titles) == 60
            assert (len(task.train), len(task.test), task.scale) == (TRAIN_ROWS, ROWS - TRAIN_ROWS, (1.0, 5.0))
            # Without side tables there is nothing to tell.
            shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("titles.csv", "users.csv"))
            task = accuracy.Split("bare", tmp_path / "bare", tmp_path / "output", display).task
        assert [part.shape for part in (task.users, task.titles)] == [(0, 0), (0, 0)]
        users, titles = peers._side_features(peers._Pairs(task))
        assert (users, titles) == ([], [])


class TestPeers:
    def test_side_features_by_hand(self) -> None:
        def ratings(*pairs: tuple[str, str]) -> pd.DataFrame:
            return pd.DataFrame(pairs, columns=["user_id", "movie_title"])

        task = peers.Task(
            train=ratings(("a", "X"), ("b", "X")),
            test=ratings(("a", "Y")),
            # User c and title Z are rated by nobody; title Y stands in no table.
            users=pd.DataFrame({"user_age": [31, np.nan, 17], "user_gender": ["M", "M", "F"]}, index=["c", "b", "a"]),
            titles=pd.DataFrame({"genres": ["War", "Drama|War"], "release_year": [2001.0, 1995.0]}, index=["Z", "X"]),
            scale=(1.0, 5.0),
        )
        pairs = peers._Pairs(task)
        assert [each.tolist() for each in (*pairs.train, *pairs.test)] == [[0, 1], [0, 0], [0], [1]]
        users, titles = peers._side_features(pairs)
        ages, genders = (part.toarray() for part in users)
        assert ages[0].tolist() == [1.0] + [0.0] * 8
        assert not ages[1].any()
        assert genders.tolist() == [[1, 0], [0, 1]]
        genres, years = (part.toarray() for part in titles)
        np.testing.assert_allclose(genres, [[0.5**0.5, 0.5**0.5], [0, 0]])
        assert years.sum(axis=1).tolist() == [1, 0]
        (of_users,), (of_titles,) = peers._membership(pairs)
        np.testing.assert_allclose(of_users.toarray(), [[1, 0], [1, 0]])
        np.testing.assert_allclose(of_titles.toarray(), [[0.5**0.5, 0.5**0.5], [0, 0]])

    @pytest.mark.parametrize("name", [peer.name for peer in peers.PEERS])
    def test_each_one_beats_the_mean(self, name: str, folder: pathlib.Path) -> None:
        (peer,) = (each for each in peers.PEERS if each.name == name)
        if peer.package in peers.missing():
            pytest.skip(f"{peer.package} is not installed")
        with TaskDisplay(Console(quiet=True), 1) as display:
            task = accuracy.Split("mine", folder, folder, display).task
        if peer.package == peers.MYFM:
            peer = peers.my_fm_peer(name, *peer.fit.args[0], iterations=60)
        predictions, spent = peer.fit(task, 3)
        assert predictions.shape == (len(task.test),)
        assert spent.seconds > 0
        labels = task.test.user_rating.to_numpy()
        of_mean = np.full(len(labels), task.train.user_rating.mean())
        assert metrics.rmse(labels, predictions) < metrics.rmse(labels, of_mean)
        if peer.seeded:
            assert np.abs(peer.fit(task, 4)[0] - predictions).max() > 1e-6
        np.testing.assert_allclose(peer.fit(task, 3)[0], predictions)


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--splits", "u9"], "expected names among notebook, u1"),
            (["--splits", "u1,tenfold,ten"], "plays, all, unfamiliar; got tenfold"),
            (["--splits", ","], "got none"),
            (["--splits", "latest-small"], "download https://files.grouplens.org"),
            (["--data", "/nowhere"], "does not exist"),
            (["--data", "."], "ratings.json, which records what the ratings are; it is missing"),
            (["--presets", "default,best"], "got best"),
            (["--seeds", "0"], "--seeds"),
            (["--source", "/nowhere"], "does not exist"),
        ],
    )
    def test_bad_input_is_named(self, tmp_path, capsys, arguments: list[str], said: str) -> None:
        with pytest.raises(SystemExit) as done:
            cli.main(["benchmark", "accuracy", "--output", str(tmp_path), *arguments])
        assert done.value.code == ExitCode.BAD_INPUT
        assert said in " ".join(capsys.readouterr().err.split())

    def test_peers_that_are_asked_for_have_to_be_there(self, tmp_path, capsys, monkeypatch) -> None:
        monkeypatch.setattr(peers, "_MODULES", {peers.MYFM: "no_such_module"})
        with pytest.raises(SystemExit) as done:
            cli.main(["benchmark", "accuracy", "--output", str(tmp_path), "--peers"])
        assert done.value.code == ExitCode.BAD_INPUT
        assert "pip install movie-ranking[peers]" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.slow
    def test_ones_own_data_and_data_from_seeds_without_a_network(
        self, folder: pathlib.Path, tmp_path: pathlib.Path, capfd, monkeypatch
    ) -> None:
        def refuse(*arguments: object, **options: object) -> None:
            pytest.fail("nothing is to be fetched")

        monkeypatch.setattr(fetch, "fetch", refuse)
        monkeypatch.setattr(fetch, "official_archive", refuse)
        shutil.copytree(folder.parent / "all", tmp_path / "mine")
        arguments = ["--splits", "mostly-fives", "--data", str(tmp_path / "mine"), "--data", str(folder)]
        arguments += ["--presets", "notebook", "--seeds", "1", "--no-peers", "--output", str(tmp_path / "out")]
        with pytest.raises(SystemExit) as done:
            cli.main(["benchmark", "accuracy", *arguments])
        assert done.value.code == 0
        table = json.loads((tmp_path / "out" / accuracy_table.RESULTS_FILE).read_text())["table"]
        assert list(dict.fromkeys(row["split"] for row in table)) == ["mostly-fives", "mine", "split"]
        rmse = {row["method"]: row["rmse"] for row in table if row["split"] == "mostly-fives"}
        assert rmse["noise floor"] == min(rmse.values())
        lost = [row for row in table if row["better"]]
        shown = capfd.readouterr().out
        assert lost
        for row in lost:
            assert (
                f"- {row['split']}: {row['method']} ({row['difference']:+.4f} ± {row['difference_error']:.4f})" in shown
            )

    @pytest.mark.slow
    def test_on_movielens_100k(self, movielens_100k, tmp_path: pathlib.Path, capfd) -> None:
        arguments = ["--splits", "notebook", "--presets", "fast", "--seeds", "1", "--no-peers"]
        with pytest.raises(SystemExit) as done:
            cli.main(["benchmark", "accuracy", *arguments, "--source", str(movielens_100k), "--output", str(tmp_path)])
        assert done.value.code == 0
        results = json.loads((tmp_path / accuracy_table.RESULTS_FILE).read_text())
        rmse = {each["method"]: each["rmse"] for each in results["measurements"]}
        assert rmse["preset fast"] < 0.895
        assert rmse["user + title bias"] == pytest.approx(0.943, abs=6e-4)
        shown = capfd.readouterr().out
        assert "preset fast" in shown
        assert f"{rmse['preset fast']:.4f}" in shown
