"""How good lists are for people of whom the model has seen nothing: folded in, retrained, and beside the most rated.

`python -m tests.bench.new_users FOLDER`: of a fifth of the users no rating is trained on. Some of each one's ratings,
drawn at random, are known when lists are asked for; what is liked among those beyond the last number is what lists are
judged by, so that all numbers are judged alike. Retrained is a model fitted on the known ratings, too.
"""

from __future__ import annotations

import pathlib
import tempfile

import click
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from modules import dataset, list_metrics, retrieval_fit
from modules.list_metrics import LENGTH
from modules.model_configs import RetrievalConfig
from modules.ratings import Ratings
from modules.retrieval_model import RetrievalModel
from pipeline.config import resolve
from pipeline.local.task_display import TaskDisplay
from pipeline.local.transformed import run_to_transform

KNOWN = (0, 1, 2, 3, 5, 10, 20)
# What a user needs to be judged by, beyond the ratings that may be known.
_JUDGED = 10


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
def main(folder: pathlib.Path, seed: int) -> None:
    """Measures lists for new users of a data folder."""
    console = Console()
    with tempfile.TemporaryDirectory() as output, TaskDisplay(console, 1) as display:
        config = resolve.resolve({"data.root": str(folder), "output": output})
        transformed = run_to_transform(config, display)
        ratings = dataset.concatenate(
            dataset.concatenate(transformed.load("train"), transformed.load("eval")), transformed.load("test")
        )
    ratings = ratings.select((ratings.user < ratings.num_users) & (ratings.title < ratings.num_titles))
    rng = np.random.default_rng(seed)
    count = np.bincount(ratings.user, minlength=ratings.num_users)
    enough = np.flatnonzero(count >= KNOWN[-1] + _JUDGED)
    new = rng.permutation(enough)[: ratings.num_users // 5]
    place = _places(ratings, rng)
    is_new = np.isin(ratings.user, new)
    old, chosen = _chosen(ratings.select(~is_new), seed)
    folding = retrieval_fit.fit(old, chosen, seed=seed)
    high = ratings.rating >= retrieval_fit.positive_from(old)
    judged = [ratings.title[(ratings.user == user) & high & (place >= KNOWN[-1])] for user in new]
    kept = [row for row, titles in enumerate(judged) if len(titles)]
    users, judged = new[kept], [judged[row] for row in kept]
    number = np.array([len(titles) for titles in judged])
    table = Table("known ratings", "folded in", "retrained", "most rated", "standard error of folded in - most rated")
    popularity = np.bincount(old.title, minlength=old.num_titles)
    for known in KNOWN:
        rows = is_new & (place < known)
        retrained = retrieval_fit.fit(dataset.concatenate(old, ratings.select(rows)), chosen, seed=seed)
        of_user = [ratings.select(rows & (ratings.user == user)) for user in users]
        lists = {
            "folded in": [_listed(folding, *folding.fold(*_asked(each))) for each in of_user],
            "retrained": [_listed(retrained, *retrained.history(tf.constant(user, tf.int64))) for user in users],
            "most rated": [np.argsort(np.where(_free(each), -popularity, 1))[:LENGTH] for each in of_user],
        }
        ndcg = {name: list_metrics.ndcg(np.array(found), judged, number) for name, found in lists.items()}
        lead = ndcg["folded in"] - ndcg["most rated"]
        cells = [f"{values.mean():.4f}" for values in ndcg.values()]
        table.add_row(str(known), *cells, f"{lead.std(ddof=1) / np.sqrt(len(lead)):.4f}")
    console.print(f"NDCG@10 of {len(users)} users of whom nothing was trained on", highlight=False)
    console.print(table)


def _chosen(old: Ratings, seed: int) -> tuple[Ratings, retrieval_fit.Chosen]:
    train, held_out = dataset.carve(old)
    config = RetrievalConfig()
    return old, retrieval_fit.choose(train, held_out, config, seed=seed, report=lambda text: None)


def _places(ratings: Ratings, rng: np.random.Generator) -> np.ndarray:
    """Int [ratings]: the place of each in a random order of its user's."""
    order = np.lexsort((rng.random(len(ratings)), ratings.user))
    first = np.searchsorted(ratings.user, ratings.user)
    place = np.empty(len(ratings), np.int64)
    place[order] = np.arange(len(ratings)) - first
    return place


def _asked(ratings: Ratings) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(ratings.title, tf.int64), tf.constant(ratings.rating)


def _free(known: Ratings) -> np.ndarray:
    free = np.ones(known.num_titles, bool)
    free[known.title] = False
    return free


def _listed(model: RetrievalModel, titles: tf.Tensor, weights: tf.Tensor) -> np.ndarray:
    best, _ = model.recommend(titles, weights, tf.fill([model.num_titles], True), tf.constant(LENGTH))
    return best.numpy()


if __name__ == "__main__":
    main()
