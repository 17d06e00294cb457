"""Seeded ratings of any size whose best possible prediction is known.

A rating is

    stars = round(clip(m + b_u + c_t + p_u · q_t + e)),  e ~ N(0, noise²),

rounded to the nearest step of the scale, with user effects b, title effects c and factors p, q drawn once. Who rates
what is drawn without replacement, with Zipf popularity of titles and log-normal activity of users, independent of the
effects. With side features, half of the variance of effects and factors comes from the users' age, gender and
occupation and from the titles' genres and year.

Other scales are the same stars in other units and steps, or counts, which grow exponentially with the score: a `Form`
says which.

No predictor can beat the mean of the ratings given m + b_u + c_t + p_u · q_t; its RMSE, clipping and rounding included,
is the noise floor.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import sys
from collections.abc import Callable

import numpy as np

from data.errors import DataError
from data.folder import check_destination, publish, workspace
from data.progress import Progress, silent
from data.reader import RatingColumns
from data.releases import Release, files_of
from data.sidecar import Sidecar
from data.vocabulary import Vocabulary
from data.writer import merge, rated_keys, write_tables
from modules.features import (
    COLUMNS,
    GENRES,
    RELEASE_YEAR,
    REQUIRED_COLUMNS,
    SIDE_TABLES,
    TITLES,
    USER_AGE,
    USER_GENDER,
    USER_OCCUPATION,
    USER_ZIP_CODE,
    USERS,
)

# The best possible prediction of each row of `ratings.csv`, float32 [rows], where `write` keeps it.
EXPECTED_FILE = "expected.npy"

_STARS = (1.0, 5.0)
_MEAN = 3.4
_GROWTH = 1.4  # of the logarithm of a count, for each star of the score
_USER_SPREAD = 0.4
_TITLE_SPREAD = 0.5
_FACTOR_SPREAD = 0.5  # standard deviation of p · q
_SIDE_SHARE = 0.5  # of the variance of effects and factors, where there are side features
_ZIPF_EXPONENT = 1.0
_ACTIVITY_SIGMA = 1.0

_CHUNK_ROWS = 1 << 20
_TABLE_POINTS = 1 << 14
# Thresholds that lie closer than this part of the noise are taken together.
_THRESHOLDS_A_NOISE = 50
_FIRST_TIMESTAMP, _LAST_TIMESTAMP = 874_000_000, 894_000_000
_GENRES = ("Action", "Animation", "Comedy", "Crime", "Documentary", "Drama", "Horror", "Musical", "Romance", "Western")
_OCCUPATIONS = ("artist", "doctor", "educator", "engineer", "farmer", "lawyer", "other", "retired", "student", "writer")
_GENDERS = ("F", "M")
_YEARS = (1930, 2000)
_AGES = (10, 75)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """What becomes of a score, which is in stars from 1 to 5, once the noise is added to it.

    Attributes:
      scale: lowest and highest rating; 1 star becomes the one, 5 stars the other.
      step: ratings are the lowest one plus multiples of it.
      mean: m, stars.
      median: makes counts, median x exp(1.4 (score - m)), instead of ratings that are linear in the score; the scale
        still clips them.
    """

    scale: tuple[float, float] = _STARS
    step: float = 0.5
    mean: float = _MEAN
    median: float | None = None

    def __post_init__(self) -> None:
        """Raises DataError where the scale is none, or not made of steps, or has counts below 0."""
        low, high = self.scale
        if not (-math.inf < low < high < math.inf and self.step > 0 and math.isfinite(self.mean)):
            raise DataError(f"expected a lowest rating below the highest, a step above 0, a finite mean; got {self}")
        steps = (high - low) / self.step
        if abs(steps - round(steps)) > 1e-6 or round(steps) < 1:
            raise DataError(f"expected a scale of whole steps; got {steps:g} of {self.step:g} from {low:g} to {high:g}")
        if self.median is not None and not (self.median > 0 and low >= 0):
            raise DataError(f"expected counts of at least 0 with a median above 0; got {self}")

    def __str__(self) -> str:
        low, high = self.scale
        counts = "" if self.median is None else f", counts with median {self.median:g}"
        return f"{low:g} to {high:g} by {self.step:g}, mean {self.mean:g} stars{counts}"

    def ratings(self, scores: np.ndarray) -> np.ndarray:
        """Scores with their noise, stars, as ratings: clipped to the scale and rounded to its nearest step."""
        (low, high), step = (_STARS, self._step_in_stars) if self.median is None else (self.scale, self.step)
        values = scores if self.median is None else self.median * np.exp(_GROWTH * (scores - self.mean))
        return self.scale[0] + self.step * np.rint((np.clip(values, low, high) - low) / step)

    def expected(self, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the ratings by score, as a table for linear interpolation: scores and means, both float64 [points].

        Ratings are low + step × (thresholds passed), the thresholds lying midway between two ratings, so that
        E[rating | s] = low + step Σ_k Φ((s - threshold_k) / noise).
        """
        thresholds = self._thresholds()
        low, high = _STARS if self.median is None else (thresholds[0], thresholds[-1])
        # As many as there are on scales of counts lie too close to be told from their mean.
        _, group, size = np.unique(
            np.floor(thresholds * (_THRESHOLDS_A_NOISE / noise)), return_inverse=True, return_counts=True
        )
        thresholds = np.bincount(group, weights=thresholds) / size
        # Beyond 8 noises from the last threshold the mean is the end of the scale to all digits.
        scores = np.linspace(low - 8 * noise, high + 8 * noise, _TABLE_POINTS)
        grid = np.linspace(-10.0, 10.0, _TABLE_POINTS)
        normal = np.array([0.5 * (1.0 + math.erf(z / math.sqrt(2.0))) for z in grid])
        passed = (size * np.interp((scores[:, None] - thresholds) / noise, grid, normal)).sum(axis=1)
        return scores, self.scale[0] + self.step * passed

    @property
    def _step_in_stars(self) -> float:
        return self.step * (_STARS[1] - _STARS[0]) / (self.scale[1] - self.scale[0])

    def _thresholds(self) -> np.ndarray:
        """The scores at which a rating becomes the next higher one, float64 [steps], ascending, stars."""
        if self.median is None:
            return np.arange(_STARS[0] + self._step_in_stars / 2, _STARS[1], self._step_in_stars)
        counts = np.arange(self.scale[0] + self.step / 2, self.scale[1], self.step)
        return self.mean + np.log(counts / self.median) / _GROWTH


STARS = Form()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Synthetic:
    """Ratings and the truth behind them; rows in the order of user number, then title number.

    Attributes:
      user: int32 [rows], 0 <= number < users.
      title: int32 [rows], 0 <= number < titles; no pair of user and title occurs twice.
      rating: float32 [rows], steps of the form's scale.
      timestamp: int64 [rows], seconds since 1970-01-01 UTC; None without side features.
      expected: float32 [rows], mean of the ratings given user and title: the best possible prediction.
      noise_floor: RMSE of `expected` over these rows.
      user_ids: the users' names, by number.
      titles: the titles, by number.
      user_effect: float64 [users], b.
      title_effect: float64 [titles], c.
      user_factors: float64 [users, rank], p.
      title_factors: float64 [titles, rank], q.
      attributes: values of optional columns, by column name, then by number; empty without side features.
    """

    user: np.ndarray
    title: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None
    expected: np.ndarray
    noise_floor: float
    user_ids: list[str]
    titles: list[str]
    user_effect: np.ndarray
    title_effect: np.ndarray
    user_factors: np.ndarray
    title_factors: np.ndarray
    attributes: dict[str, dict[int, str | int]]


def generate(
    rows: int,
    *,
    seed: int,
    users: int | None = None,
    titles: int | None = None,
    rank: int = 8,
    noise: float = 0.7,
    side_features: bool = False,
    form: Form = STARS,
    progress: Progress = silent,
) -> Synthetic:
    """Draws ratings; the same arguments give the same ratings.

    Memory: about 50 bytes a rating, or up to 100 where more than a quarter of all pairs are rated.

    Args:
      rows: how many ratings.
      seed: the seed of everything that is drawn.
      users: how many users there are to draw from; by default one for 100 rows, 10 at least.
      titles: how many titles there are to draw from; by default 5 √rows, 20 at least.
      rank: length of the factors.
      noise: standard deviation of e, stars.
      side_features: give users and titles features that explain half of their effects and factors.
      form: what becomes of the scores.
      progress: told how many rows are rated.

    Raises:
      DataError: a size is not positive, or there are fewer pairs than rows.
    """
    users = max(10, rows // 100) if users is None else users
    titles = max(20, math.ceil(5 * math.sqrt(max(rows, 0)))) if titles is None else titles
    for name, value in (("rows", rows), ("users", users), ("titles", titles), ("rank", rank), ("noise", noise)):
        if not value > 0:
            raise DataError(f"expected {name} above 0; got {value}")
    if rows > users * titles:
        raise DataError(
            f"expected at most {users} x {titles} = {users * titles} rows, since no user rates a title twice; "
            f"got {rows}; raise users or titles"
        )
    rng = np.random.default_rng(seed)
    years = rng.integers(*_YEARS, size=titles)
    attributes: dict[str, dict[int, str | int]] = {}
    user_side = title_side = None
    if side_features:
        user_side, user_attributes = _user_side(rng, users)
        title_side, title_attributes = _title_side(rng, years)
        attributes = {**user_attributes, **title_attributes}
    user_effect, user_factors = _effects(rng, users, rank, _USER_SPREAD, user_side)
    title_effect, title_factors = _effects(rng, titles, rank, _TITLE_SPREAD, title_side)
    user, title = _draw_pairs(rng, rows, users, titles)

    rating, expected = np.empty(rows, np.float32), np.empty(rows, np.float32)
    scores, means = form.expected(noise)
    squared = 0.0
    for start in range(0, rows, _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        u, t = user[chunk], title[chunk]
        score = form.mean + user_effect[u] + title_effect[t] + np.einsum("ij,ij->i", user_factors[u], title_factors[t])
        rated = form.ratings(score + rng.normal(scale=noise, size=len(u)))
        mean = np.interp(score, scores, means)
        squared += float(np.square(rated - mean).sum())
        rating[chunk], expected[chunk] = rated, mean
        progress("rating", min(start + _CHUNK_ROWS, rows), rows, "rows")
    return Synthetic(
        user=user,
        title=title,
        rating=rating,
        timestamp=rng.integers(_FIRST_TIMESTAMP, _LAST_TIMESTAMP, size=rows) if side_features else None,
        expected=expected,
        noise_floor=math.sqrt(squared / rows),
        user_ids=[str(number + 1) for number in range(users)],
        titles=[f"Synthetic Movie, The {number + 1} ({year})" for number, year in enumerate(years.tolist())],
        user_effect=user_effect,
        title_effect=title_effect,
        user_factors=user_factors,
        title_factors=title_factors,
        attributes=attributes,
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def write(
    folder: str | os.PathLike[str],
    *,
    rows: int,
    seed: int = 0,
    users: int | None = None,
    titles: int | None = None,
    rank: int = 8,
    noise: float = 0.7,
    side_features: bool = False,
    form: Form = STARS,
    with_expected: bool = False,
    say: Callable[[str], None] = _say,
    progress: Progress = silent,
) -> Sidecar:
    """Writes the tables of `generate`'s ratings and their record, and says the noise floor.

    Side tables have all users and titles that there are to draw from, rated or not.

    Args:
      folder: the data folder, made where there is none.
      rows: how many ratings.
      seed: the seed of everything that is drawn.
      users: how many users there are to draw from; by default as `generate` has it.
      titles: how many titles there are to draw from; by default as `generate` has it.
      rank: the length of the factors.
      noise: the standard deviation of the ratings' noise, stars.
      side_features: write timestamps, `titles.csv` and `users.csv`, too.
      form: what becomes of the scores.
      with_expected: write EXPECTED_FILE, too, in the order of `ratings.csv`.
      say: told the noise floor.
      progress: told how far it is.

    Raises:
      DataError: the sizes do not fit, or files of others stand where the result belongs.
    """
    folder = pathlib.Path(folder)
    columns = COLUMNS if side_features else REQUIRED_COLUMNS
    check_destination(folder, files_of([""], columns))
    synthetic = generate(
        rows,
        seed=seed,
        users=users,
        titles=titles,
        rank=rank,
        noise=noise,
        side_features=side_features,
        form=form,
        progress=progress,
    )
    release = Release(
        name=f"synthetic, seed {seed}, rank {rank}, noise {noise:g}"
        + (", side features" if side_features else "")
        + ("" if form == STARS else f", {form}"),
        ratings={},
        columns=columns,
        scale=form.scale,
        users=Vocabulary(synthetic.user_ids),
        titles=Vocabulary(synthetic.titles),
        attributes=synthetic.attributes,
    )
    noise_floor = synthetic.noise_floor
    ratings = RatingColumns(
        user=synthetic.user, title=synthetic.title, rating=synthetic.rating, timestamp=synthetic.timestamp
    )
    # `merge` sorts what it is given, and empties it.
    truth = RatingColumns(user=synthetic.user, title=synthetic.title, rating=synthetic.expected, timestamp=None)
    expected = merge(truth, release.users, release.titles).rating if with_expected else None
    del synthetic, truth  # not needed any more, and large
    rated = rated_keys([ratings], release)
    listed = {table.name: np.arange(len(release.keys_of(table))) for table in SIDE_TABLES}
    with workspace(folder) as work:
        parts = {"": merge(ratings, release.users, release.titles)}
        sidecar = Sidecar(
            rating_scale=form.scale,
            users=len(rated[USERS.name]),
            titles=len(rated[TITLES.name]),
            rows_read=rows,
            rejected=0,
            source=release.name,
            files=write_tables(work, release, parts, listed, progress),
            noise_floor=noise_floor,
        )
        if expected is not None:
            np.save(folder / EXPECTED_FILE, expected)
        publish(work, folder, sidecar)
    say(f"noise floor of {rows} synthetic ratings: RMSE {noise_floor:.4f} is the best possible")
    return sidecar


def _effects(
    rng: np.random.Generator, size: int, rank: int, spread: float, side: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Effects [size] and factors [size, rank] of users or titles, with a share that their features explain.

    Args:
      rng: the source of chance.
      size: how many users or titles.
      rank: length of the factors.
      spread: standard deviation of the effects.
      side: float64 [size, features] or None.
    """
    own = rng.normal(size=(size, rank + 1))
    if side is not None:
        explained = side @ rng.normal(size=(side.shape[1], rank + 1))
        explained -= explained.mean(axis=0)
        explained /= np.maximum(explained.std(axis=0), 1e-12)  # a single user has no spread
        own = math.sqrt(1 - _SIDE_SHARE) * own + math.sqrt(_SIDE_SHARE) * explained
    # The product of two such factors, summed over the rank, has the standard deviation _FACTOR_SPREAD.
    return spread * own[:, 0], math.sqrt(_FACTOR_SPREAD / math.sqrt(rank)) * own[:, 1:]


def _user_side(rng: np.random.Generator, users: int) -> tuple[np.ndarray, dict[str, dict[int, str | int]]]:
    """Features of the users, as a matrix [users, features] and as values of columns."""
    age = rng.integers(*_AGES, size=users)
    gender = rng.integers(len(_GENDERS), size=users)
    occupation = rng.integers(len(_OCCUPATIONS), size=users)
    zip_code = rng.integers(100_000, size=users)
    side = np.concatenate(
        [
            np.eye(len(_GENDERS))[gender],
            np.eye(len(_OCCUPATIONS))[occupation],
            ((age - np.mean(_AGES)) / (_AGES[1] - _AGES[0]))[:, None],
        ],
        axis=1,
    )
    return side, {
        USER_AGE.name: dict(enumerate(age.tolist())),
        USER_GENDER.name: {number: _GENDERS[g] for number, g in enumerate(gender)},
        USER_OCCUPATION.name: {number: _OCCUPATIONS[o] for number, o in enumerate(occupation)},
        USER_ZIP_CODE.name: {number: f"{code:05d}" for number, code in enumerate(zip_code)},
    }


def _title_side(rng: np.random.Generator, years: np.ndarray) -> tuple[np.ndarray, dict[str, dict[int, str | int]]]:
    """Features of the titles, as a matrix [titles, features] and as values of columns."""
    # One to three genres: the columns with the smallest of random numbers.
    order = np.argsort(rng.random((len(years), len(_GENRES))), axis=1)
    held = np.arange(len(_GENRES)) < rng.integers(1, 4, size=len(years))[:, None]
    genres = np.zeros((len(years), len(_GENRES)))
    np.put_along_axis(genres, order, held.astype(np.float64), axis=1)
    year = ((years - np.mean(_YEARS)) / (_YEARS[1] - _YEARS[0]))[:, None]
    side = np.concatenate([genres / np.sqrt(genres.sum(axis=1, keepdims=True)), year], axis=1)
    names = {
        number: "|".join(g for g, is_held in zip(_GENRES, row, strict=True) if is_held)
        for number, row in enumerate(genres)
    }
    return side, {GENRES.name: names, RELEASE_YEAR.name: dict(enumerate(years.tolist()))}


def _draw_pairs(rng: np.random.Generator, rows: int, users: int, titles: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs in ascending order, the likelier the more active the user and the more popular the title.

    Returns:
      int32 [rows] users and int32 [rows] titles.
    """
    activity = rng.lognormal(sigma=_ACTIVITY_SIGMA, size=users)
    popularity = rng.permutation(np.arange(1.0, titles + 1) ** -_ZIPF_EXPONENT)
    if users * titles <= 4 * rows:
        pairs = _draw_of_all(rng, rows, activity, popularity)
    else:
        pairs = _draw_until_enough(rng, rows, activity, popularity)
    user, title = np.divmod(pairs, titles)
    return user.astype(np.int32), title.astype(np.int32)


def _draw_of_all(rng: np.random.Generator, rows: int, activity: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """Weighted draw without replacement among all pairs: the largest of log weight + Gumbel noise.

    Source: Efraimidis and Spirakis 2006, Weighted random sampling with a reservoir, in logarithms.
    """
    keys = np.log(activity)[:, None] + np.log(popularity)[None, :]
    keys += rng.gumbel(size=keys.shape)
    return np.sort(np.argpartition(keys.reshape(-1), keys.size - rows)[keys.size - rows :])


def _draw_until_enough(rng: np.random.Generator, rows: int, activity: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """The same where most pairs stay unrated: draw with replacement, and again for what fell together."""
    by_activity, by_popularity = np.cumsum(activity), np.cumsum(popularity)
    pairs = np.empty(0, np.int64)
    surplus = 1.25
    while len(pairs) < rows:
        drawn = min(int((rows - len(pairs)) * surplus) + 64, rows + 64)
        user = np.searchsorted(by_activity, rng.random(drawn) * by_activity[-1], side="right")
        title = np.searchsorted(by_popularity, rng.random(drawn) * by_popularity[-1], side="right")
        # Rounding can put a draw at the very end of the sum.
        user, title = np.minimum(user, len(activity) - 1), np.minimum(title, len(popularity) - 1)
        pairs = np.unique(np.concatenate([pairs, user * len(popularity) + title]))
        surplus *= 1.5  # the likely pairs are gone by now
    if len(pairs) > rows:
        pairs = np.delete(pairs, rng.choice(len(pairs), len(pairs) - rows, replace=False))
    return pairs
