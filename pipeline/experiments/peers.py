"""Rating predictors of other libraries, fitted on the same rows: Surprise and myFM, where they are installed.

Each gets user ids, titles and ratings; the one with side features also gets what the side tables say of users and
titles, those of the test rows included. None gets a test rating.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from modules import progress
from modules.features import (
    AGE_BOUNDARIES,
    GENRES,
    MOVIE_TITLE,
    RELEASE_YEAR,
    USER_AGE,
    USER_GENDER,
    USER_ID,
    USER_OCCUPATION,
    USER_RATING,
    YEAR_BOUNDARIES,
    Column,
)
from pipeline.experiments.fit_time import FitTime, timed

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse

SURPRISE, MYFM = "scikit-surprise", "myfm"
_MODULES = {SURPRISE: "surprise", MYFM: "myfm"}
_MYFM_RANK = 10
# The first eighth of the sweeps is left out of the mean.
_MYFM_BURN_IN = 8
_SWEEPS_PER_REPORT = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a peer is fitted on and asked for.

    Attributes:
      train: training rows, as `ratings.csv` has them.
      test: rows to rate; their ratings are nobody's business here.
      users: the columns of `users.csv`, by user id; without columns where there is no such table.
      titles: the columns of `titles.csv`, by title, as well.
      scale: lowest and highest possible rating, stars.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    users: pd.DataFrame
    titles: pd.DataFrame
    scale: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """A predictor of another library.

    Attributes:
      name: what tables call it.
      package: the distribution that it comes from.
      fit: fits on training rows and rates test rows: `fit(task, seed)` gives predicted stars, float [test rows], and
        how long fitting took.
      seeded: the seed changes what it predicts.
    """

    name: str
    package: str
    fit: Callable[[Task, int], tuple[np.ndarray, FitTime]]
    seeded: bool = True

    @property
    def version(self) -> str:
        """The installed version of the package."""
        return importlib.metadata.version(self.package)


def missing() -> dict[str, str]:
    """The packages that cannot be imported, and why."""
    reasons = {}
    for package, module in _MODULES.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            reasons[package] = str(error)
    return reasons


def installed() -> list[Peer]:
    """The peers whose packages can be imported."""
    gone = missing()
    return [peer for peer in PEERS if peer.package not in gone]


def _surprise(build: Callable[[Any, int], Any], task: Task, seed: int) -> tuple[np.ndarray, FitTime]:
    """Fits the algorithm that `build(surprise, seed)` makes."""
    import surprise

    columns = [USER_ID.name, MOVIE_TITLE.name, USER_RATING.name]
    reader = surprise.Reader(rating_scale=task.scale)
    rows = surprise.Dataset.load_from_df(task.train[columns], reader).build_full_trainset()
    algorithm = build(surprise, seed)
    with timed() as spent:
        algorithm.fit(rows)
    pairs = zip(task.test[USER_ID.name], task.test[MOVIE_TITLE.name], strict=True)
    return np.array([algorithm.predict(user, title).est for user, title in pairs]), spent


def _my_fm(
    blocks: tuple[Callable[[_Pairs], list[list[sparse.csr_matrix]]], ...],
    iterations: int,
    task: Task,
    seed: int,
) -> tuple[np.ndarray, FitTime]:
    """Fits a factorisation machine whose user and title are described by blocks of features.

    Args:
      blocks: each gives matrices [users, features] and matrices [titles, features], in two lists.
      iterations: sweeps of the sampler.
      task: what to fit on and what to rate; the caller keeps predictions within its scale.
      seed: the sampler's seed.
    """
    import myfm
    from scipy import sparse

    pairs = _Pairs(task)
    made = [block(pairs) for block in blocks]
    parts = [[part for block in made for part in block[side]] for side in (0, 1)]
    user_rows, title_rows = (sparse.hstack(side).tocsr() for side in parts)
    relations = [
        [myfm.RelationBlock(user.tolist(), user_rows), myfm.RelationBlock(title.tolist(), title_rows)]
        for user, title in (pairs.train, pairs.test)
    ]

    pace = progress.Pace("sweeps")

    def report(iteration: int, *_: object) -> tuple[bool, None]:
        if iteration and iteration % _SWEEPS_PER_REPORT == 0:
            progress.report(f"sweep {pace.counted(iteration, iterations)}")
        return False, None

    model = myfm.MyFMRegressor(rank=_MYFM_RANK, random_seed=seed)
    with timed() as spent:
        model.fit(
            None,
            task.train[USER_RATING.name].to_numpy(np.float64),
            X_rel=relations[0],
            n_iter=iterations,
            n_kept_samples=iterations - iterations // _MYFM_BURN_IN,
            group_shapes=[part.shape[1] for side in parts for part in side],
            callback=report,
        )
    return model.predict(None, relations[1]), spent


class _Pairs:
    """Training and test rows by position among all users and all titles of both.

    Attributes:
      users: the row of `users.csv` of each user, indexed by id; missing values where there is none.
      titles: the row of `titles.csv` of each title, indexed by title; missing values where there is none.
      train: int [train rows] users and int [train rows] titles.
      test: the same of the test rows.
    """

    def __init__(self, task: Task):
        def ids(column: Column) -> list[str]:
            return sorted({*task.train[column.name], *task.test[column.name]})

        self.users, self.titles = task.users.reindex(ids(USER_ID)), task.titles.reindex(ids(MOVIE_TITLE))
        self.train, self.test = (
            (
                self.users.index.get_indexer(part[USER_ID.name]),
                self.titles.index.get_indexer(part[MOVIE_TITLE.name]),
            )
            for part in (task.train, task.test)
        )


def _identities(pairs: _Pairs) -> list[list[sparse.csr_matrix]]:
    from scipy import sparse

    return [[sparse.identity(len(side), format="csr")] for side in (pairs.users, pairs.titles)]


def _membership(pairs: _Pairs) -> list[list[sparse.csr_matrix]]:
    """What each user rated in training, and who rated each title, every row of length one."""
    from scipy import sparse

    user, title = pairs.train
    rated = sparse.csr_matrix((np.ones(len(user)), (user, title)), shape=(len(pairs.users), len(pairs.titles)))

    def normalized(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
        counts = np.asarray(matrix.sum(axis=1)).ravel()
        return (sparse.diags(1 / np.sqrt(np.maximum(counts, 1))) @ matrix).tocsr()

    return [[normalized(rated)], [normalized(rated.T.tocsr())]]


def _side_features(pairs: _Pairs) -> list[list[sparse.csr_matrix]]:
    """One-hot age bin, occupation and gender of users, genres and one-hot year of titles: those columns there are."""
    from scipy import sparse

    def binned(frame: pd.DataFrame, name: str, boundaries: tuple[float, ...]) -> np.ndarray:
        values = frame[name].to_numpy(np.float64)
        bins = np.searchsorted(boundaries, np.nan_to_num(values), side="right")
        return np.eye(len(boundaries) + 1)[bins] * np.isfinite(values)[:, np.newaxis]

    users, titles = [], []
    if USER_AGE.name in pairs.users:
        users.append(binned(pairs.users, USER_AGE.name, AGE_BOUNDARIES))
    users += [
        pairs.users[column.name].str.get_dummies().to_numpy(np.float64)
        for column in (USER_OCCUPATION, USER_GENDER)
        if column.name in pairs.users
    ]
    if GENRES.name in pairs.titles:
        genres = pairs.titles[GENRES.name].str.get_dummies("|").to_numpy(np.float64)
        titles.append(genres / np.sqrt(np.maximum(genres.sum(axis=1, keepdims=True), 1)))
    if RELEASE_YEAR.name in pairs.titles:
        titles.append(binned(pairs.titles, RELEASE_YEAR.name, YEAR_BOUNDARIES))
    return [[sparse.csr_matrix(part) for part in side if part.shape[1]] for side in (users, titles)]


def _surprise_peer(name: str, build: Callable[[Any, int], Any], *, seeded: bool = True) -> Peer:
    return Peer(name=f"Surprise {name}", package=SURPRISE, fit=functools.partial(_surprise, build), seeded=seeded)


def my_fm_peer(name: str, *blocks: Callable[[_Pairs], list[list[sparse.csr_matrix]]], iterations: int = 400) -> Peer:
    """A myFM regressor over blocks of features."""
    return Peer(name=f"myFM {name}", package=MYFM, fit=functools.partial(_my_fm, blocks, iterations))


PEERS = (
    _surprise_peer("BaselineOnly", lambda surprise, seed: surprise.BaselineOnly(verbose=False), seeded=False),
    _surprise_peer(
        "KNNBaseline",
        lambda surprise, seed: surprise.KNNBaseline(
            k=40, sim_options={"name": "pearson_baseline", "user_based": False}, verbose=False
        ),
        seeded=False,
    ),
    _surprise_peer(
        "SVD, tuned",
        lambda surprise, seed: surprise.SVD(n_factors=100, n_epochs=100, lr_all=0.005, reg_all=0.1, random_state=seed),
    ),
    _surprise_peer("SVD++", lambda surprise, seed: surprise.SVDpp(random_state=seed)),
    my_fm_peer("ids", _identities),
    my_fm_peer("ids + implicit", _identities, _membership),
    my_fm_peer("ids + side + implicit", _identities, _side_features, _membership),
)
