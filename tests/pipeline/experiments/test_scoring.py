"""The scoring benchmark on a tiny exported model: its arithmetic, its record and its errors; never its speed."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from modules import serving
from modules.errors import UserError
from modules.model_configs import NotebookConfig
from modules.notebook_model import NotebookModel
from pipeline import cli
from pipeline.exit_codes import ExitCode
from pipeline.experiments import scoring
from pipeline.experiments.scoring import Latency, ScoredModel, ScoringSpeed, Throughput
from tests.support import ROWS, analyze, export_recommending, load, side_features, write_examples

USERS = ["7", "07"]
TITLES = ["Alien (1979)", "Heat (1995)", "Élan vital"]
SMALL = ["--candidates", "5", "--requests", "3", "--pairs", "50"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A version folder below an output folder's serving_model."""
    folder = tmp_path_factory.mktemp("export")
    output, side = analyze(ROWS), side_features()
    fitted_on = load(write_examples(folder / "rows.gz", ROWS), output, side, low=-9.0, high=9.0)
    model = NotebookModel(fitted_on.num_users, fitted_on.num_titles, NotebookConfig(hidden_units=(4,)), seed=3)
    path = folder / "output" / "serving_model" / "12"
    serving.export(serving.ServingModel(model, output, fitted_on, side), str(path))
    return path


@pytest.fixture(scope="module")
def model(exported: pathlib.Path) -> ScoredModel:
    return ScoredModel(exported)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        cli.main(["benchmark", "scoring", *arguments])
    return int(done.value.code or 0)


def rated(seconds: float, cpu_seconds: float = 1.0, pairs: int = 100) -> Throughput:
    return Throughput(pairs=pairs, batch=50, threads=2, seconds=seconds, cpu_seconds=cpu_seconds)


class TestFigures:
    def test_percentiles_by_hand_and_against_sorting(self, rng: np.random.Generator) -> None:
        # 101 values 0 to 100 ms: each percentile is its own number.
        wall = rng.permutation(101) / 1e3
        latency = Latency.of(wall.tolist(), [0.002, 0.004], candidates=9)
        assert (latency.p50_ms, latency.p90_ms, latency.p99_ms) == pytest.approx((50.0, 90.0, 99.0))
        assert latency.mean_ms == pytest.approx(50.0)
        assert latency.cpu_ms == pytest.approx(3.0)
        assert (latency.candidates, latency.requests) == (9, 101)
        wall = rng.exponential(size=1_000)
        ordered = np.sort(wall)
        # Linear interpolation at 0.99 x 999 = 989.01.
        expected = 1e3 * (0.99 * ordered[989] + 0.01 * ordered[990])
        assert Latency.of(wall.tolist(), [1.0], candidates=1).p99_ms == pytest.approx(expected)

    def test_one_request(self) -> None:
        latency = Latency.of([0.002], [0.001], candidates=1)
        assert (latency.p50_ms, latency.p99_ms, latency.mean_ms) == pytest.approx((2.0, 2.0, 2.0))

    def test_rates(self) -> None:
        each = rated(2.0, cpu_seconds=3.0, pairs=600)
        assert (each.pairs_per_second, each.pairs_per_cpu_second, each.cores_used) == (300.0, 200.0, 1.5)
        assert each.as_json()["pairs_per_second"] == 300.0

    def test_median_of_odd_and_of_even_numbers(self) -> None:
        assert scoring.median([rated(3.0), rated(1.0), rated(2.0)]).seconds == 2.0
        assert scoring.median([rated(1.0), rated(2.0)]).seconds == 2.0


class TestThroughput:
    @pytest.mark.parametrize("threads", [1, 2])
    def test_every_pair_is_rated_and_counted_once_after_the_warm_up(self, threads: int) -> None:
        users, titles = np.arange(103).astype(str).astype(object), np.arange(103, 206).astype(str).astype(object)
        asked, lock = [], threading.Lock()

        def score(some: np.ndarray, others: np.ndarray) -> None:
            with lock:
                asked.extend(zip(some, others, strict=True))

        parts = [scoring.batches_of(column, 10) for column in (users, titles)]
        measured = scoring.throughput(score, *parts, threads=threads)
        assert (measured.pairs, measured.batch, measured.threads) == (103, 10, threads)
        everything = list(zip(users, titles, strict=True))
        assert sorted(asked[30:]) == sorted(everything)
        assert sorted(asked[:30]) == sorted(everything[:30])

    @pytest.mark.parametrize(("size", "lengths"), [(4, [4, 4, 2]), (5, [5, 5]), (10, [10]), (99, [10])])
    def test_batches(self, size: int, lengths: list[int]) -> None:
        parts = scoring.batches_of(np.arange(10), size)
        assert [len(part) for part in parts] == lengths
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(10))

    def test_an_error_in_a_thread_is_not_lost(self) -> None:
        def score(users: list[str], titles: list[str]) -> None:
            raise tf.errors.InternalError(None, None, "broken")

        with pytest.raises(tf.errors.InternalError, match="broken"):
            scoring.throughput(score, [["a"]], [["b"]], threads=2)


class TestModel:
    def test_it_asks_what_the_model_knows(self, model: ScoredModel) -> None:
        assert sorted(model.user_names) == sorted(USERS)
        assert sorted(model.title_names) == sorted(TITLES)

    def test_answers_are_those_of_the_model_called_as_in_the_notebook(self, model: ScoredModel) -> None:
        grid = [(user, title) for user in USERS for title in TITLES]
        users, titles = (np.array(column, object) for column in zip(*grid, strict=True))
        called = tf.saved_model.load(str(model.path))({"user_id": users.astype("U"), "movie_title": titles.astype("U")})
        expected = called.numpy()[:, 0]
        assert len(set(expected.tolist())) == len(grid)
        np.testing.assert_allclose(model.ask_predict(users, titles), expected, rtol=1e-6)
        ranked, ratings = model.ask_rank(users[:1], titles[:3])
        order = np.argsort(-expected[:3])
        assert [title.decode() for title in ranked] == [TITLES[place] for place in order]
        np.testing.assert_allclose(ratings, expected[order], rtol=1e-6)

    @pytest.mark.parametrize(("candidates", "distinct"), [(3, True), (8, False)])
    def test_requests_hold_known_users_and_titles(self, model, rng, monkeypatch, candidates: int, distinct: bool):
        asked = []
        monkeypatch.setattr(model, "ask_rank", lambda user, titles: asked.append((user, titles)))
        said: list[str] = []
        latency = scoring.rank_latency(model, candidates=candidates, requests=4, rng=rng, report=said.append)
        assert latency.requests == 4
        (line,) = said
        assert re.fullmatch(rf"rank, {candidates} candidates: request 4/4, [\d,.]+ requests/(s|min)", line)
        for user, titles in asked:
            assert user.shape == (1,)
            assert user[0] in USERS
            assert titles.shape == (candidates,)
            assert set(titles) <= set(TITLES)
            assert (len(set(titles)) == candidates) == distinct

    def test_requests_for_lists(self, tmp_path: pathlib.Path, rng) -> None:
        model = ScoredModel(pathlib.Path(export_recommending(tmp_path)))
        assert model.recommends
        titles, stars = model.ask_recommend(np.array(["u3"], object))
        assert [title.decode() for title in titles] == [each.title for each in model.recommend("u3", {}, scoring.TOP)]
        assert stars.shape == titles.shape
        said: list[str] = []
        latency = scoring.recommend_latency(model, requests=3, rng=rng, report=said.append)
        assert (latency.candidates, latency.requests) == (len(model.title_names), 3)
        (line,) = said
        assert re.fullmatch(r"recommend: request 3/3, [\d,.]+ requests/(s|min)", line)

    def test_a_folder_without_a_model(self, exported: pathlib.Path) -> None:
        with pytest.raises(ValueError, match="give the folder of one version"):
            ScoredModel(exported.parent)

    def test_a_broken_model(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "saved_model.pb").write_bytes(b"\xff no model")
        with pytest.raises(ValueError, match="expected a SavedModel that loads"):
            ScoredModel(tmp_path)

    def test_the_newest_model_is_not_passed_over_for_what_it_is(self, tmp_path: pathlib.Path) -> None:
        """Only damage is: of a model of another kind a user has to be told."""
        path = tmp_path / "serving_model" / "2"
        tf.saved_model.save(tf.Module(), str(path))
        (path / "assets").mkdir(exist_ok=True)
        for column in ("user_id", "movie_title"):
            (path / "assets" / column).write_text("a\n")
        shutil.copytree(path, path.parent / "1")
        (path.parent / "1" / "saved_model.pb").unlink()
        with pytest.raises(UserError, match=r"expected the signatures rank and predict in .*/serving_model/2; missing"):
            ScoredModel.latest(str(tmp_path), print)

    def test_a_model_without_its_variables(self, exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "model"
        shutil.copytree(exported, path)
        shutil.rmtree(path / "variables")
        with pytest.raises(ValueError, match="expected a SavedModel that loads"):
            ScoredModel(path)

    def test_a_model_of_another_kind(self, tmp_path: pathlib.Path) -> None:
        tf.saved_model.save(tf.Module(), str(tmp_path))
        (tmp_path / "assets").mkdir(exist_ok=True)
        for column in ("user_id", "movie_title"):
            (tmp_path / "assets" / column).write_text("a\n")
        with pytest.raises(ValueError, match="missing: rank, predict"):
            ScoredModel(tmp_path)

    def test_a_model_that_knows_nobody(self, exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
        tf.saved_model.save(tf.Module(), str(tmp_path))
        (tmp_path / "assets").mkdir(exist_ok=True)
        (tmp_path / "assets" / "user_id").write_text("")
        with pytest.raises(ValueError, match="expected values of user_id"):
            ScoredModel(tmp_path)


class TestReport:
    def test_record_and_table_show_the_same_medians(self, tmp_path: pathlib.Path) -> None:
        measured = ScoringSpeed(
            model=pathlib.Path("models/12"),
            seed=5,
            cores=2,
            latency=Latency.of([0.001, 0.003], [0.004, 0.004], candidates=1_000),
            recommending=Latency.of([0.005], [0.006], candidates=1_633),
            sweep=(rated(1.0), rated(9.0)),
            arrays=(rated(4.0), rated(1.0), rated(2.0)),
            tensors=(rated(0.5),),
        )
        scoring.save(measured, tmp_path)
        record = json.loads((tmp_path / scoring.RESULTS_FILE).read_text())
        assert record["rank"]["p50_ms"] == pytest.approx(2.0)
        assert record["recommend"]["p99_ms"] == pytest.approx(5.0)
        assert record["predict"]["pairs_per_second"] == 50.0
        assert record["predict"]["lowest_pairs_per_second"] == 25.0
        assert record["predict"]["highest_pairs_per_second"] == 100.0
        assert record["predict_tensors"]["pairs_per_second"] == 200.0
        assert [each["seconds"] for each in record["sweep"]] == [1.0, 9.0]
        console = Console(width=200, record=True, quiet=False, file=(tmp_path / "shown").open("w", encoding="utf-8"))
        scoring.show(measured, console)
        lines = console.export_text().splitlines()
        ranks, recommends = ([cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│ r" in line)
        assert ranks == ["rank", "1,000", "2.00", "2.80", "2.98", "2.00", "4.00"]
        assert recommends == ["recommend 10", "1,633", "5.00", "5.00", "5.00", "5.00", "6.00"]
        (arrays,) = (line for line in lines if "arrays, median" in line)
        assert [cell.strip() for cell in arrays.split("│")[1:-1]] == ["arrays, median", "50", "2", "50", "100", "0.50"]


class TestCommand:
    def test_figures_are_shown_and_saved(self, exported: pathlib.Path, tmp_path: pathlib.Path, capfd) -> None:
        assert call("--model", str(exported), *SMALL, "--seed", "9", "--output", str(tmp_path)) == 0
        record = json.loads((tmp_path / scoring.RESULTS_FILE).read_text())
        assert (record["model"], record["seed"]) == (str(exported), 9)
        assert (record["rank"]["candidates"], record["rank"]["requests"]) == (5, 3)
        # It was exported without what recommends.
        assert record["recommend"] is None
        assert 0 < record["rank"]["p50_ms"] <= record["rank"]["p90_ms"] <= record["rank"]["p99_ms"]
        assert (record["predict"]["pairs"], record["predict"]["batch"]) == (50, 50)
        assert record["predict"]["repeats"] == scoring.REPEATS
        shown = capfd.readouterr()
        assert f"{record['rank']['p50_ms']:.2f}" in shown.out
        assert f"{record['predict']['pairs_per_second']:,.0f}" in shown.out
        assert "request 3/3, " in shown.err

    def test_the_newest_pushed_model_is_taken(self, exported, tmp_path, monkeypatch) -> None:
        older = tmp_path / "output" / "serving_model" / "9"
        shutil.copytree(exported, older)
        shutil.copytree(exported, older.with_name("10"))
        monkeypatch.chdir(tmp_path)
        assert call(*SMALL, "--output", "results") == 0
        record = json.loads((tmp_path / "results" / scoring.RESULTS_FILE).read_text())
        assert record["model"] == "output/serving_model/10"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "run `movie-ranking run` first"),
            (["--model", "nowhere"], "does not exist"),
            (["--model", "."], "expected a SavedModel"),
            (["--candidates", "0"], "--candidates"),
            (["--requests", "0"], "--requests"),
            (["--pairs", "0"], "--pairs"),
            (["--seed", "-1"], "--seed"),
        ],
    )
    def test_bad_input_is_named(self, tmp_path, capsys, monkeypatch, arguments: list[str], said: str) -> None:
        monkeypatch.chdir(tmp_path)
        assert call(*arguments) == ExitCode.BAD_INPUT
        shown = capsys.readouterr().err
        assert said in shown
        assert "Traceback" not in shown

    def test_results_that_cannot_be_written(self, exported, tmp_path, capsys) -> None:
        (tmp_path / "file").write_text("")
        assert call("--model", str(exported), *SMALL, "--output", str(tmp_path / "file" / "below")) == 2
        assert "Traceback" not in capsys.readouterr().err
