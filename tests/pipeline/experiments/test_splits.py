"""Splits of all kinds, made small: which rows go where, what is known of them, and what is refused."""

from __future__ import annotations

import csv
import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

from data import fetch, prepare, synthetic
from data.errors import DataError
from data.progress import silent
from data.sidecar import Sidecar
from pipeline.experiments import splits
from pipeline.experiments.splits import Sources

ROWS = 200


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder whose ratings are in one part, side features and the best possible predictions included."""
    folder = tmp_path_factory.mktemp("data") / "whole"
    made = {"rows": ROWS, "users": 20, "titles": 30, "seed": 3, "side_features": True, "with_expected": True}
    synthetic.write(folder, **made, say=lambda line: None)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits made from seeds with a hundredth of their rows."""
    few = {
        name: {**arguments, "rows": arguments["rows"] // 100, "users": 40, "titles": 250}
        for name, arguments in splits.SYNTHETIC.items()
    }
    monkeypatch.setattr(splits, "SYNTHETIC", few)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        pytest.fail("nothing is to be fetched")

    monkeypatch.setattr(fetch, "fetch", refuse)
    monkeypatch.setattr(fetch, "official_archive", refuse)


def lines_of(path: pathlib.Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def latest_small(folder: pathlib.Path, rows: int = 50) -> pathlib.Path:
    """What GroupLens' folder looks like, with a few ratings."""
    folder.mkdir(parents=True)
    titles = "".join(f"{movie},Movie {movie} (1995),Drama|War\n" for movie in range(10))
    (folder / "movies.csv").write_text(f"movieId,title,genres\n{titles}")
    ratings = "".join(f"{row // 10},{row % 10},{0.5 + row % 10 / 2},{row}\n" for row in range(rows))
    (folder / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{ratings}")
    return folder


class TestSplitAtRandom:
    def test_the_rows_are_those_that_the_seed_draws(self, whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
        truth = np.load(whole / synthetic.EXPECTED_FILE)
        splits.split_at_random(whole, tmp_path / "made", expected=truth)
        header, *rows = lines_of(whole / "ratings.csv")
        drawn = np.random.default_rng(5).permutation(ROWS)
        for part, positions in (("train", drawn[:160]), ("test", drawn[160:])):
            expected = [rows[position] for position in sorted(positions)]
            assert lines_of(tmp_path / "made" / part / "ratings.csv") == [header, *expected]
        for name in ("titles.csv", "users.csv"):
            assert (tmp_path / "made" / name).read_bytes() == (whole / name).read_bytes()
        np.testing.assert_array_equal(np.load(tmp_path / "made" / synthetic.EXPECTED_FILE), truth[sorted(drawn[160:])])

    def test_the_record_is_that_of_both_parts(self, whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
        splits.split_at_random(whole, tmp_path / "made", "of this")
        sidecar, of_whole = Sidecar.read(tmp_path / "made"), Sidecar.read(whole)
        assert sidecar.matches(tmp_path / "made")
        assert {file.name: file.rows for file in sidecar.files} == {
            "train/ratings.csv": 160,
            "test/ratings.csv": 40,
            "titles.csv": 30,
            "users.csv": 20,
        }
        assert (sidecar.rating_scale, sidecar.rows) == (of_whole.rating_scale, ROWS)
        assert not (tmp_path / "made" / synthetic.EXPECTED_FILE).exists()
        assert sidecar.source == f"{of_whole.source}, split 80/20 by seed 5 [of this]"

    def test_a_last_line_without_an_end_is_a_row(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "own").mkdir()
        rows = [f'u{n},"Good, The {n}",{n % 2}' for n in range(10)]
        (tmp_path / "own/ratings.csv").write_text("user_id,movie_title,user_rating\n" + "\n".join(rows))
        (tmp_path / "own/ratings.json").write_text('{"rating_scale": [0, 1]}')
        splits.split_at_random(tmp_path / "own", tmp_path / "made")
        parts = [lines_of(tmp_path / "made" / part / "ratings.csv")[1:] for part in ("train", "test")]
        assert [len(part) for part in parts] == [8, 2]
        assert sorted(parts[0] + parts[1]) == sorted(rows)

    @pytest.mark.parametrize(("rows", "found"), [(["user_id,movie_title,user_rating", "a,b,1"], 1), ([], 0)])
    def test_too_few_rows_are_refused(self, rows: list[str], found: int, tmp_path: pathlib.Path) -> None:
        (tmp_path / "ratings.csv").write_text("".join(f"{row}\n" for row in rows))
        (tmp_path / "ratings.json").write_text('{"rating_scale": [0, 1]}')
        with pytest.raises(DataError, match=f"got {found}; give more"):
            splits.split_at_random(tmp_path, tmp_path / "made")

    @pytest.mark.parametrize(("rows", "test_rows"), [(2, 1), (5, 1), (7, 2), (99_836, 19_968)])
    def test_a_fifth_goes_to_the_test_part(self, rows: int, test_rows: int) -> None:
        assert splits.drawn_for_test(rows).sum() == test_rows


@pytest.mark.usefixtures("no_network")
class TestMadeFromSeeds:
    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize("split", splits.SYNTHETIC)
    def test_each_one_has_its_scale_and_its_floor(self, split: str, tmp_path: pathlib.Path) -> None:
        made = splits.make(split, tmp_path, sources=Sources(), progress=silent)
        sidecar = Sidecar.read(made)
        scales = {
            "binary": (0, 1),
            "half-stars": (0.5, 5),
            "ten": (0, 10),
            "hundred": (0, 100),
            "plays": (0, 352_698),
        }
        assert sidecar.rating_scale == scales.get(split, (1, 5))
        assert {file.name for file in sidecar.files if "/" not in file.name} == (
            {"titles.csv", "users.csv"} if split.endswith("-side") else set()
        )
        with (made / "test/ratings.csv").open(encoding="utf-8", newline="") as file:
            ratings = np.array([float(row["user_rating"]) for row in csv.DictReader(file)])
        expected = np.load(made / synthetic.EXPECTED_FILE)
        assert expected.shape == ratings.shape
        # Were the predictions those of other rows, they would be worse than the mean.
        if len(ratings) > 50:
            assert np.sqrt(np.mean((ratings - expected) ** 2)) < 0.95 * np.std(ratings)

    @pytest.mark.usefixtures("small")
    def test_it_is_made_once_until_it_is_to_be_another(self, tmp_path: pathlib.Path, monkeypatch) -> None:
        def make() -> tuple[int, dict[str, str]]:
            made = splits.make("ten", tmp_path, sources=Sources(), progress=silent)
            return (made / "train/ratings.csv").stat().st_mtime_ns, Sidecar.read(made).checksums

        first = make()
        assert make() == first
        (tmp_path / "ten" / synthetic.EXPECTED_FILE).unlink()
        again = make()
        assert again[0] > first[0]
        assert again[1] == first[1]
        monkeypatch.setitem(splits.SYNTHETIC, "ten", {**splits.SYNTHETIC["ten"], "seed": 1})
        assert make()[1] != first[1]
        assert [path.name for path in tmp_path.iterdir()] == ["ten"]


class TestSources:
    def test_latest_small_is_told_by_its_files(self, tmp_path: pathlib.Path) -> None:
        folder = latest_small(tmp_path / "a" / "ml-latest-small")
        with zipfile.ZipFile(tmp_path / "latest.zip", "w") as archive:
            archive.write(folder / "movies.csv", "ml-latest-small/movies.csv")
        other = tmp_path / "ml-100k"
        other.mkdir()
        for path in (folder, folder.parent, tmp_path / "latest.zip"):
            assert Sources.of([path]) == Sources(latest_small=path)
            assert Sources.of([other, path]) == Sources(movielens_100k=other, latest_small=path)
        assert Sources.of([]) == Sources()

    def test_two_of_one_release_are_refused(self, tmp_path: pathlib.Path) -> None:
        folder = latest_small(tmp_path / "a")
        with pytest.raises(DataError, match=r"both with movies\.csv; leave one out"):
            Sources.of([folder, folder])
        (tmp_path / "file").write_text("no zip")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"both without movies\.csv"):
            Sources.of([tmp_path / "file", tmp_path / "empty"])

    @pytest.mark.usefixtures("no_network")
    def test_latest_small_is_prepared_and_split(self, tmp_path: pathlib.Path) -> None:
        sources = Sources.of([latest_small(tmp_path / "ml-latest-small")])
        made = splits.make("latest-small", tmp_path / "out", sources=sources, progress=silent)
        prepare.prepare(tmp_path / "ml-latest-small", tmp_path / "whole")
        splits.split_at_random(tmp_path / "whole", tmp_path / "expected")
        assert Sidecar.read(made).checksums == Sidecar.read(tmp_path / "expected").checksums
        assert Sidecar.read(made).rating_scale == (0.5, 5)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["latest-small"]

    @pytest.mark.usefixtures("no_network")
    def test_latest_small_is_not_fetched(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(DataError, match=r"https://files\.grouplens\.org/\S+small\.zip and give it with --source"):
            splits.make("latest-small", tmp_path, sources=Sources(), progress=silent)


class TestGroups:
    def test_groups_stand_for_their_splits(self, tmp_path: pathlib.Path) -> None:
        assert splits.expand(["unfamiliar"], Sources()) == tuple(splits.SYNTHETIC)
        assert set(splits.expand(["all"], Sources())) == {*splits.SPLITS} - {"latest-small"}
        assert splits.expand(["all"], Sources(latest_small=tmp_path)) == splits.SPLITS
        assert splits.expand(["ten", "u1", "unfamiliar", "u1"], Sources())[:3] == ("ten", "u1", "synthetic-100k")
        assert len(splits.expand(["ten", "unfamiliar"], Sources())) == len(splits.SYNTHETIC)


class TestOwnFolders:
    def test_a_split_of_ones_own_is_taken_as_it_is(self, whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
        splits.split_at_random(whole, tmp_path / "mine")
        assert splits.make_own(tmp_path / "mine", tmp_path / "out") == tmp_path / "mine"
        assert not (tmp_path / "out").exists()

    def test_ratings_in_one_part_are_split_until_they_change(self, whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = shutil.copytree(whole, tmp_path / "mine")
        made = splits.make_own(source, tmp_path / "out")
        splits.split_at_random(whole, tmp_path / "expected")
        assert made == tmp_path / "out" / "mine"
        assert Sidecar.read(made).checksums == Sidecar.read(tmp_path / "expected").checksums
        stamp = (made / "test/ratings.csv").stat().st_mtime_ns
        assert splits.make_own(source, tmp_path / "out") == made
        assert (made / "test/ratings.csv").stat().st_mtime_ns == stamp
        synthetic.write(source, rows=100, users=20, titles=30, seed=8, say=lambda line: None)
        splits.make_own(source, tmp_path / "out")
        assert Sidecar.read(made).rows == 100

    def test_another_scale_is_another_folder(self, whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = shutil.copytree(whole, tmp_path / "mine")
        splits.make_own(source, tmp_path / "out")
        record = json.loads((source / "ratings.json").read_text())
        (source / "ratings.json").write_text(json.dumps({**record, "rating_scale": [0, 5]}))
        assert Sidecar.read(splits.make_own(source, tmp_path / "out")).rating_scale == (0, 5)

    def test_what_is_not_a_data_folder_is_refused(self, whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
        with pytest.raises(DataError, match=r"ratings\.json, which records what the ratings are; it is missing"):
            splits.make_own(tmp_path, tmp_path / "out")
        changed = shutil.copytree(whole, tmp_path / "changed")
        with (changed / "ratings.csv").open("a") as file:
            file.write("1,x,3\n")
        with pytest.raises(DataError, match="has changed since"):
            splits.make_own(changed, tmp_path / "out")

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            (["ratings-1.csv", "ratings-2.csv"], "got ratings-1.csv, ratings-2.csv"),
            ([], "got none"),
            (["train/ratings.csv"], "got train/ratings.csv"),
            (["train/ratings.csv", "test/ratings-1.csv"], "got train/ratings.csv, test/ratings-1.csv"),
        ],
    )
    def test_other_files_are_refused(self, files: list[str], said: str, tmp_path: pathlib.Path) -> None:
        (tmp_path / "ratings.json").write_text('{"rating_scale": [0, 1]}')
        for name in files:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("user_id,movie_title,user_rating\na,b,1\n")
        with pytest.raises(DataError, match=f"{said}; make it anew"):
            splits.make_own(tmp_path, tmp_path / "out")

    def test_names_tell_folders_apart(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("a/x", "b/x", "a/ten", "a/all"):
            (tmp_path / name).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "a/x")
        assert splits.own_names([pathlib.Path("."), tmp_path / "a/x"]) == {"x": tmp_path / "a/x"}
        with pytest.raises(DataError, match="a/x has the same; rename one"):
            splits.own_names([tmp_path / "a/x", tmp_path / "b/x"])
        for name in ("ten", "all"):
            with pytest.raises(DataError, match="a split of that name is built in; rename one"):
                splits.own_names([tmp_path / "a" / name])
