"""How well titles, or users, are rated of which nothing is trained on: by preset `default`, and by mean ratings.

`python -m tests.bench.cold_rows FOLDER`: of a tenth of the titles, drawn at random, all ratings are held out, and the
titles are in no table; what a request says of them, it says by their features. Then the same of a tenth of the users.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import click
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from modules import bayesian_model, dataset
from modules.baselines import damped_mean
from modules.features import MOVIE_TITLE, TITLE_FEATURES, USER_FEATURES, USER_ID
from modules.metrics import rmse
from modules.model_configs import BayesianConfig
from modules.ratings import Ratings
from modules.side_features import LISTED
from pipeline.config import resolve
from pipeline.local.task_display import TaskDisplay
from pipeline.local.transformed import run_to_transform

_SHARE = 0.1


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@click.option("--draws", type=click.IntRange(min=2), default=6, show_default=True)
@click.option("--form", type=click.Choice(list(bayesian_model.FORMS)), default="expressive", show_default=True)
def main(folder: pathlib.Path, draws: int, form: str) -> None:
    """Measures ratings of what is held out of a data folder."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as output, TaskDisplay(console, 1) as display:
        config = resolve.resolve({"data.root": str(folder), "output": output})
        transformed = run_to_transform(config, display)
        ratings = dataset.concatenate(
            dataset.concatenate(transformed.load("train"), transformed.load("eval")), transformed.load("test")
        )
    ratings = ratings.select((ratings.user < ratings.num_users) & (ratings.title < ratings.num_titles))
    for held_out, known in (("title", "user"), ("user", "title")):
        table = Table("draw", "ratings", "RMSE", "bias", f"RMSE of the {known}'s mean", "bias")
        figures = []
        for draw in range(draws):
            ids = getattr(ratings, held_out)
            names = np.random.default_rng(draw).permutation(np.unique(ids))
            is_test = np.isin(ids, names[: round(_SHARE * len(names))])
            train, test = ratings.select(~is_test), ratings.select(is_test)
            answers = _asked(train, test, BayesianConfig(form=form)), _mean_of(known, train, test)
            figures.append(
                [figure for each in answers for figure in (rmse(test.rating, each), np.mean(each - test.rating))]
            )
            table.add_row(str(draw), f"{len(test):,}", *(f"{figure:.4f}" for figure in figures[-1]))
        table.add_row("mean", "", *(f"{figure:.4f}" for figure in np.mean(figures, axis=0)))
        gain = np.subtract(*np.transpose(figures)[[0, 2]])
        error = gain.std(ddof=1) / np.sqrt(draws)
        console.print(
            f"a tenth of the {held_out}s held out: {gain.mean():+.4f} beside the mean, standard error {error:.4f}"
        )
        console.print(table)


def _asked(train: Ratings, test: Ratings, config: BayesianConfig) -> np.ndarray:
    """Stars, float [ratings], by a model that knows what has training ratings; of all else it is told the features."""
    users, titles = np.unique(train.user), np.unique(train.title)
    fitted_on = dataclasses.replace(
        train,
        user=_places(users, train.user),
        title=_places(titles, train.title),
        num_users=len(users),
        num_titles=len(titles),
        user_features=train.user_features[users],
        title_features=train.title_features[titles],
    )
    model = bayesian_model.fit(fitted_on, config, seed=0, log_dir=None, report=lambda text: None)
    vectors = [test.user_features[test.user], test.title_features[test.title]]
    for each in vectors:
        each[:, LISTED] = 0.0
    asked = {
        USER_ID.name: tf.constant(_places(users, test.user)),
        MOVIE_TITLE.name: tf.constant(_places(titles, test.title)),
        USER_FEATURES: tf.constant(vectors[0]),
        TITLE_FEATURES: tf.constant(vectors[1]),
    }
    return np.clip(model(asked).numpy()[:, 0], train.low, train.high)


def _places(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Int32 [ids]: the place of each among the known, which rise; their number for all others."""
    return np.where(np.isin(ids, known), np.searchsorted(known, ids), len(known)).astype(np.int32)


def _mean_of(name: str, train: Ratings, test: Ratings) -> np.ndarray:
    """Stars, float [ratings]: the mean training rating of the user (title); that of all where there is none."""
    ids, size = getattr(train, name), getattr(train, f"num_{name}s")
    mean = train.rating.mean(dtype=np.float64)
    return mean + damped_mean(ids, train.rating - mean, size, 0.0)[getattr(test, name)]


if __name__ == "__main__":
    main()
