from __future__ import annotations

import csv
import math
import statistics

import numpy as np
import pytest

from data import synthetic
from data.errors import DataError
from data.prepare import prepare
from data.sidecar import Sidecar
from data.synthetic import Form
from modules.features import RATINGS, TITLES, USERS

# SHA-256 of 3,000 ratings of seed 0.
RATINGS_OF_SEED_0 = "3cfa7e3071bbe51723177995e0ed5ea1e2ea7c03ff436a43c9a9a3b17ce121c6"
FORMS = {
    "stars": Form(),
    "whole stars, mostly fives": Form(step=1.0, mean=5.2),
    "0 or 1": Form(scale=(0.0, 1.0), step=1.0),
    "half stars": Form(scale=(0.5, 5.0)),
    "0 to 10": Form(scale=(0.0, 10.0), step=1.0),
    "0 to 100": Form(scale=(0.0, 100.0), step=1.0),
    "-10 to 10": Form(scale=(-10.0, 10.0), step=0.25),
    "plays": Form(scale=(0.0, 352_698.0), step=1.0, median=260.0),
    "few plays": Form(scale=(0.0, 40.0), step=1.0, median=2.0),
}


def score_of(made: synthetic.Synthetic, mean: float = 3.4) -> np.ndarray:
    return (
        mean
        + made.user_effect[made.user]
        + made.title_effect[made.title]
        + (made.user_factors[made.user] * made.title_factors[made.title]).sum(axis=1)
    )


# Few of many pairs, more than a quarter of them, and all.
@pytest.mark.parametrize(("rows", "users", "titles"), [(2_000, 100, 200), (2_000, 50, 60), (600, 20, 30), (1, 1, 1)])
def test_no_pair_occurs_twice(rows, users, titles):
    made = synthetic.generate(rows, seed=1, users=users, titles=titles)
    assert len(set(zip(made.user.tolist(), made.title.tolist(), strict=True))) == rows
    assert 0 <= made.user.min() <= made.user.max() < users
    assert 0 <= made.title.min() <= made.title.max() < titles
    for column in (made.rating, made.expected):
        assert column.shape == (rows,)
    assert set(made.rating.tolist()) <= set(np.arange(1, 5.5, 0.5).tolist())


@pytest.mark.parametrize("side_features", [False, True])
def test_same_seed_same_ratings(side_features, tmp_path):
    def digest(name, seed):
        return synthetic.write(
            tmp_path / name, rows=3_000, seed=seed, side_features=side_features, say=lambda line: None
        ).checksums

    assert digest("a", 5) == digest("b", 5) != digest("c", 6)


@pytest.mark.parametrize("noise", [0.05, 0.7, 2.0])
def test_expected_is_the_mean_of_the_stars(noise):
    made = synthetic.generate(300, seed=2, noise=noise)
    normal = statistics.NormalDist(sigma=noise)
    stars = np.arange(1, 5.5, 0.5)
    for score, expected in zip(score_of(made), made.expected, strict=True):
        # P(stars = v): the noise ends within half a step of v; at the ends of the scale, also beyond.
        upper = [normal.cdf(star + 0.25 - score) for star in stars[:-1]] + [1.0]
        mean = float(np.dot(stars, np.diff([0.0, *upper])))
        assert expected == pytest.approx(mean, abs=2e-4)


def test_noise_floor_is_the_rmse_of_the_expected_rating_and_the_lowest_there_is():
    made = synthetic.generate(200_000, seed=3)
    residual = made.rating.astype(np.float64) - made.expected
    assert made.noise_floor == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-6)
    # Nothing is left that the expected rating could explain: neither an offset, nor a slope, nor the unclipped score.
    error = np.std(residual) / np.sqrt(len(residual))
    assert abs(residual.mean()) < 4 * error
    for regressor in (made.expected, score_of(made) ** 2):
        centred = regressor - regressor.mean()
        slope = (centred @ residual) / (centred @ centred)
        assert abs(slope) < 4 * np.std(residual) / np.sqrt(centred @ centred)
    # Knowing less is worse.
    effects = 3.4 + made.user_effect[made.user] + made.title_effect[made.title]
    assert np.sqrt(np.mean((made.rating - effects) ** 2)) > 1.05 * made.noise_floor
    assert np.std(made.rating) > 1.2 * made.noise_floor


def rated(form: Form, scores: np.ndarray) -> np.ndarray:
    """What the documentation says that becomes of scores with their noise, by another way than that of the code."""
    low, high = form.scale
    if form.median is None:
        values = low + (high - low) * (scores - 1) / 4
    else:
        values = form.median * math.e ** (1.4 * (scores - form.mean))
    return low + form.step * np.floor((np.minimum(np.maximum(values, low), high) - low) / form.step + 0.5)


@pytest.mark.parametrize(("name", "noise"), [*((name, 0.7) for name in FORMS), ("0 to 100", 3.0), ("plays", 0.1)])
def test_the_floor_of_every_form_against_draws_of_the_noise(name, noise, rng):
    form = FORMS[name]
    made = synthetic.generate(4_000, seed=12, noise=noise, form=form)
    score = score_of(made, form.mean)
    # On the grid of the form, and somewhere else than at its ends.
    steps = (made.rating - form.scale[0]) / form.step
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert form.scale[0] <= made.rating.min() < made.rating.max() <= form.scale[1]
    # The mean of each rating, whatever the score.
    for row in np.argsort(score)[:: len(score) // 39]:
        drawn = rated(form, score[row] + noise * rng.standard_normal(200_000))
        error = drawn.std() / math.sqrt(len(drawn)) + 1e-4 * form.step
        assert made.expected[row] == pytest.approx(drawn.mean(), abs=5 * error, rel=1e-6)
    # The floor: the mean variance of the ratings given the scores, but for the luck of these rows.
    variance = rated(form, score[:, None] + noise * rng.standard_normal((len(score), 2_000))).var(axis=1).mean()
    squared = np.square(made.rating.astype(np.float64) - made.expected)
    assert made.noise_floor**2 == pytest.approx(squared.mean(), rel=1e-5)
    assert made.noise_floor**2 == pytest.approx(variance, abs=5 * squared.std() / math.sqrt(len(squared)))


def test_most_ratings_are_fives_and_counts_have_a_tail():
    fives = synthetic.generate(8_000, seed=0, users=1_600, titles=2_000, form=FORMS["whole stars, mostly fives"])
    assert 0.65 < (fives.rating == 5).mean() < 0.85
    plays = synthetic.generate(50_000, seed=0, form=FORMS["plays"]).rating
    assert 230 < np.median(plays) < 290
    assert plays.max() > 100 * np.median(plays)
    assert plays.mean() > 2 * np.median(plays)


def test_the_form_changes_neither_who_rates_what_nor_the_order_of_the_ratings():
    stars, hundred = (synthetic.generate(5_000, seed=3, form=FORMS[name]) for name in ("stars", "0 to 100"))
    np.testing.assert_array_equal(stars.user, hundred.user)
    np.testing.assert_array_equal(stars.title, hundred.title)
    # Half a step of half a star are 6.25 of 100 points, and rounding to whole ones adds half a point.
    assert np.abs(hundred.rating - 25 * (stars.rating - 1)).max() <= 6.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": (5.0, 1.0)}, "lowest rating below the highest"),
        ({"scale": (0.0, float("inf"))}, "lowest rating below the highest"),
        ({"step": 0.0}, "a step above 0"),
        ({"mean": float("nan")}, "a finite mean"),
        ({"scale": (0.0, 10.0), "step": 0.3}, "whole steps; got 33.3333 of 0.3 from 0 to 10"),
        ({"scale": (0.0, 1.0), "step": 3e6}, "whole steps"),
        ({"median": 0.0}, "a median above 0"),
        ({"scale": (-1.0, 5.0), "median": 3.0}, "counts of at least 0"),
    ],
)
def test_forms_that_are_none(arguments, message):
    with pytest.raises(DataError, match=message):
        Form(**arguments)


def test_the_default_form_gives_the_ratings_that_it_always_gave(tmp_path):
    sidecar = synthetic.write(tmp_path / "out", rows=3_000, say=lambda line: None)
    assert sidecar.checksums == {"ratings.csv": RATINGS_OF_SEED_0}
    assert sidecar.source == "synthetic, seed 0, rank 8, noise 0.7"
    assert not (tmp_path / "out" / synthetic.EXPECTED_FILE).exists()


def test_the_expected_ratings_lie_in_the_order_of_the_table(tmp_path):
    arguments = {"rows": 400, "seed": 7, "users": 30, "titles": 40, "form": FORMS["0 to 10"]}
    sidecar = synthetic.write(tmp_path / "out", **arguments, with_expected=True, say=lambda line: None)
    made = synthetic.generate(**arguments)
    truth = {
        (made.user_ids[u], made.titles[t]): value
        for u, t, value in zip(made.user, made.title, made.expected.tolist(), strict=True)
    }
    with (tmp_path / "out/ratings.csv").open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    expected = np.load(tmp_path / "out" / synthetic.EXPECTED_FILE)
    assert expected.tolist() == [truth[user, title] for user, title, _ in rows]
    errors = expected - np.array([float(rating) for *_, rating in rows])
    assert sidecar.noise_floor == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
    assert sidecar.rating_scale == (0, 10)
    assert sidecar.source.endswith(", 0 to 10 by 1, mean 3.4 stars")
    assert sidecar.matches(tmp_path / "out")


def test_effects_and_factors_have_the_planted_spread():
    made = synthetic.generate(1, seed=4, users=20_000, titles=20_000, rank=4, side_features=True)
    assert np.std(made.user_effect) == pytest.approx(synthetic._USER_SPREAD, rel=0.03)
    assert np.std(made.title_effect) == pytest.approx(synthetic._TITLE_SPREAD, rel=0.03)
    products = (made.user_factors * made.title_factors).sum(axis=1)
    assert np.std(products) == pytest.approx(synthetic._FACTOR_SPREAD, rel=0.05)
    assert made.user_factors.shape == (20_000, 4)


def test_few_titles_get_most_ratings_and_users_differ_in_activity():
    made = synthetic.generate(100_000, seed=5)
    by_title = np.sort(np.bincount(made.title, minlength=len(made.titles)))[::-1]
    by_user = np.sort(np.bincount(made.user, minlength=len(made.user_ids)))[::-1]
    assert by_title[: len(by_title) // 10].sum() > 0.4 * 100_000
    assert by_user[: len(by_user) // 10].sum() > 0.25 * 100_000
    # In the middle, where no title is rated by everyone, popularity falls as 1 / rank.
    ranks = np.arange(100, 400)
    slope = np.polyfit(np.log(ranks), np.log(by_title[ranks]), 1)[0]
    assert -1.3 < slope < -0.7
    # The names do not tell: popularity is no matter of the number.
    assert abs(np.corrcoef(np.arange(len(by_title)), np.bincount(made.title, minlength=len(by_title)))[0, 1]) < 0.1


def test_side_features_explain_half_of_the_effects():
    made = synthetic.generate(1, seed=6, users=5_000, titles=5_000, side_features=True)
    attributes = made.attributes
    occupations = [attributes["user_occupation"][user] for user in range(5_000)]
    genders = [attributes["user_gender"][user] for user in range(5_000)]
    ages = np.array([attributes["user_age"][user] for user in range(5_000)], float)
    x = np.column_stack(
        [[o == name for o in occupations] for name in sorted(set(occupations))]
        + [np.array(genders) == "F", ages, np.ones(5_000)]
    ).astype(float)
    assert r_squared(x, made.user_effect) == pytest.approx(0.5, abs=0.05)
    assert r_squared(x, made.user_factors[:, 0]) == pytest.approx(0.5, abs=0.05)
    genres = [str(attributes["genres"][title]).split("|") for title in range(5_000)]
    assert {len(held) for held in genres} == {1, 2, 3}
    names = sorted({genre for held in genres for genre in held})
    years = np.array([attributes["release_year"][title] for title in range(5_000)], float)
    x = np.column_stack(
        [[(name in held) / np.sqrt(len(held)) for held in genres] for name in names] + [years, np.ones(5_000)]
    )
    assert r_squared(x, made.title_effect) == pytest.approx(0.5, abs=0.05)
    assert all(title.endswith(f"({int(year)})") for title, year in zip(made.titles, years, strict=True))


def r_squared(x: np.ndarray, y: np.ndarray) -> float:
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - residual.var() / y.var()


def test_written_ratings_are_those_made(tmp_path):
    lines: list[str] = []
    sidecar = synthetic.write(tmp_path / "out", rows=500, seed=7, users=30, titles=40, say=lines.append)
    made = synthetic.generate(500, seed=7, users=30, titles=40)
    expected = sorted(
        (made.user_ids[u], made.titles[t], float(r)) for u, t, r in zip(made.user, made.title, made.rating, strict=True)
    )
    with (tmp_path / "out/ratings.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["user_id", "movie_title", "user_rating"]
    assert [(user, title, float(rating)) for user, title, rating in rows] == expected
    assert sidecar == Sidecar.read(tmp_path / "out")
    assert sidecar.noise_floor == made.noise_floor
    assert (sidecar.rows, sidecar.users, sidecar.titles) == (500, len(set(made.user)), len(set(made.title)))
    assert sidecar.rating_scale == (1, 5)
    assert sidecar.matches(tmp_path / "out")
    assert lines == [f"noise floor of 500 synthetic ratings: RMSE {made.noise_floor:.4f} is the best possible"]


def test_side_tables_hold_all_there_are_rated_or_not(tmp_path):
    arguments = {"rows": 300, "seed": 2, "users": 200, "titles": 300, "side_features": True}
    sidecar = synthetic.write(tmp_path / "out", **arguments, say=lambda line: None)
    made = synthetic.generate(**arguments)
    tables = {}
    for table in (RATINGS, TITLES, USERS):
        with (tmp_path / "out" / table.file).open(newline="", encoding="utf-8") as file:
            header, *tables[table.name] = csv.reader(file)
        assert header == [column.name for column in table.columns]
        assert all(all(row) for row in tables[table.name])
    for table, keys in ((TITLES, made.titles), (USERS, made.user_ids)):
        numbers = sorted(range(len(keys)), key=keys.__getitem__)
        assert tables[table.name] == [
            [keys[n], *(str(made.attributes[column.name][n]) for column in table.columns[1:])] for n in numbers
        ]
    assert sidecar.titles == len({row[1] for row in tables["ratings"]}) < len(tables["titles"]) == 300
    assert sidecar.users == len({row[0] for row in tables["ratings"]}) < len(tables["users"]) == 200
    assert [file.rows for file in sidecar.files] == [300, 300, 200]
    assert prepare(tmp_path / "out", tmp_path / "again").sidecar.checksums == sidecar.checksums


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows above 0; got 0"),
        ({"rows": 10, "users": 0}, "users above 0; got 0"),
        ({"rows": 10, "titles": -1}, "titles above 0; got -1"),
        ({"rows": 10, "rank": 0}, "rank above 0"),
        ({"rows": 10, "noise": 0.0}, "noise above 0"),
        ({"rows": 10, "noise": float("nan")}, "noise above 0"),
        ({"rows": 10, "users": 3, "titles": 3}, "at most 3 x 3 = 9 rows.*got 10; raise users or titles"),
    ],
)
def test_sizes_that_do_not_fit(arguments, message, tmp_path):
    with pytest.raises(DataError, match=message):
        synthetic.write(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
