"""How fast an exported model answers: the latency of ranking and recommending, the throughput of rating pairs.

What goes in and comes out is what a caller has: NumPy object arrays of Python strings in, NumPy arrays out, so that the
conversions to and from tensors count. Beside the clock stands the processor time of all threads, which tells a slow
model from a busy machine: wall-clock figures taken with different shares of the cores do not compare.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import gc
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from data import atomic
from modules import features
from modules.errors import UserError
from modules.progress import Pace
from modules.recommending import RECOMMEND
from modules.serving import PREDICTED_RATING
from pipeline.experiments.fit_time import timed
from pipeline.local.pushed_model import PushedModel

RESULTS_FILE = "scoring.json"
# Titles that a request to `recommend` asks for.
TOP = 10
BATCH_SIZES = (1_024, 4_096, 16_384, 65_536, 262_144)
# How often the best batch size is measured anew: a single figure picked as the best of many would flatter.
REPEATS = 5
_WARM_UP_REQUESTS = 50
_WARM_UP_BATCHES = 3
_REQUESTS_PER_REPORT = 500

Report = Callable[[str], None]


class ScoredModel(PushedModel):
    """An exported model whose signatures are called as a program would call them."""

    def __init__(self, path: pathlib.Path):
        """Loads a SavedModel.

        Args:
          path: its folder.

        Raises:
          DamagedModelError: there is no SavedModel, or it does not load.
          UserError: it is none of this pipeline's.
        """
        super().__init__(path)
        self.user_names, self.title_names = map(self._names, (features.USER_ID, features.MOVIE_TITLE))
        missing = [name for name in ("rank", "predict") if name not in self._loaded.signatures]
        if missing:
            raise UserError(
                f"expected the signatures rank and predict in {path}; missing: {', '.join(missing)}; "
                "give a model that `movie-ranking run` pushed"
            )
        self._rank, self._predict = (self._loaded.signatures[name] for name in ("rank", "predict"))
        self._recommend = self._loaded.signatures.get(RECOMMEND)
        self._nothing = tf.constant([], tf.string)

    @property
    def recommends(self) -> bool:
        """Whether it was exported with what recommends."""
        return self._recommend is not None

    def _names(self, column: features.Column) -> np.ndarray:
        names = self.vocabulary(column)
        if not names:
            raise UserError(
                f"expected values of {column.name} that the model in {self.path} knows; got none; train it anew"
            )
        return np.array(names, object)

    def ask_rank(self, user: np.ndarray, titles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Titles, object [candidates], and their ratings, float32 [candidates], best first.

        Args:
          user: object [1].
          titles: object [candidates].
        """
        answer = self._rank(user_id=tf.constant(user), movie_title=tf.constant(titles))
        return answer[features.MOVIE_TITLE.name].numpy(), answer[PREDICTED_RATING].numpy()

    def ask_recommend(self, user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Titles, object [TOP or fewer], and their ratings, float32, best first, for a user, object [1]."""
        answer = self._recommend(
            user_id=tf.constant(user), k=tf.constant(TOP), exclude=self._nothing, only=self._nothing
        )
        return answer[features.MOVIE_TITLE.name].numpy(), answer[PREDICTED_RATING].numpy()

    def ask(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of a signature by name, for its inputs by name."""
        outputs = self._loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    def ask_predict(self, users: np.ndarray, titles: np.ndarray) -> np.ndarray:
        """Ratings, float32 [pairs], of users and titles, object [pairs] each."""
        return self.predict_tensors(tf.constant(users), tf.constant(titles)).numpy()[:, 0]

    def predict_tensors(self, users: tf.Tensor, titles: tf.Tensor) -> tf.Tensor:
        """Ratings, float32 [pairs, 1], of users and titles, string [pairs] each."""
        return self._predict(user_id=users, movie_title=titles)[PREDICTED_RATING]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """How long requests take, one after the other.

    Attributes:
      candidates: titles that a request has ordered.
      requests: how many were timed.
      p50_ms: median.
      p90_ms: 90th percentile, as `numpy.percentile` interpolates it.
      p99_ms: 99th percentile.
      mean_ms: mean.
      cpu_ms: mean processor time of a request, all threads together.
    """

    candidates: int
    requests: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    cpu_ms: float

    @classmethod
    def of(cls, wall: Sequence[float], cpu: Sequence[float], candidates: int) -> Latency:
        """Sums up requests.

        Args:
          wall: seconds of each request.
          cpu: processor seconds of each request.
          candidates: titles that a request has ordered.
        """
        p50, p90, p99 = (1e3 * float(value) for value in np.percentile(wall, [50, 90, 99]))
        return cls(
            candidates=candidates,
            requests=len(wall),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            mean_ms=1e3 * float(np.mean(wall)),
            cpu_ms=1e3 * float(np.mean(cpu)),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast pairs are rated, in batches.

    Attributes:
      pairs: how many were rated.
      batch: pairs in a call of `predict`.
      threads: Python threads that call it, beside which TensorFlow has its own.
      seconds: wall-clock time.
      cpu_seconds: processor time of all threads.
    """

    pairs: int
    batch: int
    threads: int
    seconds: float
    cpu_seconds: float

    @property
    def pairs_per_second(self) -> float:
        """Pairs rated in a second by the clock."""
        return self.pairs / self.seconds

    @property
    def pairs_per_cpu_second(self) -> float:
        """Pairs rated in a second of processor time, which other work on the machine hardly lengthens."""
        return self.pairs / self.cpu_seconds

    @property
    def cores_used(self) -> float:
        """Processor time by wall-clock time; far below the machine's cores, they were idle or taken."""
        return self.cpu_seconds / self.seconds

    def as_json(self) -> dict[str, float]:
        """The attributes and what follows from them."""
        return {
            **dataclasses.asdict(self),
            "pairs_per_second": self.pairs_per_second,
            "pairs_per_cpu_second": self.pairs_per_cpu_second,
            "cores_used": self.cores_used,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringSpeed:
    """What was measured.

    Attributes:
      model: folder of the model.
      seed: of the users and titles that were drawn.
      cores: that this process may use.
      latency: of `rank`.
      recommending: of `recommend`; None for a model that does not.
      sweep: every batch size and number of threads once.
      arrays: the best of them again, `REPEATS` times, from NumPy arrays to NumPy arrays.
      tensors: the same from string tensors to float tensors, without conversions.
    """

    model: pathlib.Path
    seed: int
    cores: int
    latency: Latency
    recommending: Latency | None
    sweep: tuple[Throughput, ...]
    arrays: tuple[Throughput, ...]
    tensors: tuple[Throughput, ...]

    def as_json(self) -> dict[str, Any]:
        """What `save` writes; the figures of `predict` are those of the median repeat."""
        return {
            "model": str(self.model),
            "seed": self.seed,
            "cores": self.cores,
            "tensorflow": tf.__version__,
            "rank": dataclasses.asdict(self.latency),
            "recommend": None if self.recommending is None else dataclasses.asdict(self.recommending),
            "predict": {
                **median(self.arrays).as_json(),
                "lowest_pairs_per_second": min(each.pairs_per_second for each in self.arrays),
                "highest_pairs_per_second": max(each.pairs_per_second for each in self.arrays),
                "repeats": len(self.arrays),
            },
            "predict_tensors": median(self.tensors).as_json(),
            "sweep": [each.as_json() for each in self.sweep],
        }


def measure(
    model: ScoredModel, *, candidates: int, requests: int, pairs: int, seed: int, report: Report
) -> ScoringSpeed:
    """Measures latency, then throughput; every kind of call is made untimed before.

    Args:
      model: what to ask.
      candidates: titles in a request to `rank`.
      requests: how many of them, and of those to `recommend`.
      pairs: of user and title, rated in each measurement of the throughput.
      seed: of the users and titles that are drawn.
      report: is called with one line of progress, never while something is timed.
    """
    rng = np.random.default_rng(seed)
    latency = rank_latency(model, candidates=candidates, requests=requests, rng=rng, report=report)
    recommending = recommend_latency(model, requests=requests, rng=rng, report=report) if model.recommends else None
    users, titles = (rng.choice(names, pairs) for names in (model.user_names, model.title_names))
    cores = len(os.sched_getaffinity(0))
    sweep = []
    # A batch of more than all pairs is all pairs.
    for batch in sorted({min(size, pairs) for size in BATCH_SIZES}):
        parts = batches_of(users, batch), batches_of(titles, batch)
        for threads in sorted({1, cores}):
            sweep.append(throughput(model.ask_predict, *parts, threads=threads))
            report(f"predict, batches of {batch:,}, threads: {threads}: {sweep[-1].pairs_per_second:,.0f} pairs/s")
    best = max(sweep, key=lambda each: each.pairs_per_second)
    parts = batches_of(users, best.batch), batches_of(titles, best.batch)
    tensor_parts = [[tf.constant(part) for part in column] for column in parts]
    arrays, tensors = [], []
    for repeat in range(1, REPEATS + 1):
        arrays.append(throughput(model.ask_predict, *parts, threads=best.threads))
        tensors.append(throughput(model.predict_tensors, *tensor_parts, threads=best.threads))
        report(f"predict, the best again, {repeat}/{REPEATS}: {arrays[-1].pairs_per_second:,.0f} pairs/s")
    return ScoringSpeed(
        model=model.path,
        seed=seed,
        cores=cores,
        latency=latency,
        recommending=recommending,
        sweep=tuple(sweep),
        arrays=tuple(arrays),
        tensors=tuple(tensors),
    )


def rank_latency(
    model: ScoredModel, *, candidates: int, requests: int, rng: np.random.Generator, report: Report
) -> Latency:
    """Times requests to `rank`, each for a random known user and random known titles.

    Args:
      model: what to ask.
      candidates: titles in a request, all different as long as the model knows so many.
      requests: how many to time.
      rng: draws users and titles.
      report: is called with one line of progress.
    """
    repeats = candidates > len(model.title_names)

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        return rng.choice(model.user_names, 1), rng.choice(model.title_names, candidates, replace=repeats)

    said = f"rank, {candidates:,} candidates"
    return Latency.of(
        *_timed_requests(model.ask_rank, drawn, requests, lambda text: report(f"{said}: {text}")), candidates
    )


def recommend_latency(model: ScoredModel, *, requests: int, rng: np.random.Generator, report: Report) -> Latency:
    """Times requests for TOP titles, each for a random known user.

    Args:
      model: what to ask; it recommends.
      requests: how many to time.
      rng: draws users.
      report: is called with one line of progress.
    """
    wall, cpu = _timed_requests(
        model.ask_recommend,
        lambda: (rng.choice(model.user_names, 1),),
        requests,
        lambda text: report(f"recommend: {text}"),
    )
    return Latency.of(wall, cpu, len(model.title_names))


def _timed_requests(
    ask: Callable[..., Any], drawn: Callable[[], tuple[np.ndarray, ...]], requests: int, report: Report
) -> tuple[list[float], list[float]]:
    """Seconds and processor seconds of each request, after some that are not timed."""
    for _ in range(_WARM_UP_REQUESTS):
        ask(*drawn())
    wall, cpu = [], []
    pace = Pace("requests")
    gc.collect()
    for request in range(1, requests + 1):
        arguments = drawn()
        with timed() as spent:
            ask(*arguments)
        wall.append(spent.seconds)
        cpu.append(spent.cpu_seconds)
        if request % _REQUESTS_PER_REPORT == 0 or request == requests:
            report(f"request {pace.counted(request, requests)}")
    return wall, cpu


def throughput(
    score: Callable[[Any, Any], Any], users: Sequence[Any], titles: Sequence[Any], *, threads: int
) -> Throughput:
    """Times the rating of all pairs, batch by batch, answers kept.

    Args:
      score: rates the users and titles of a batch.
      users: strings [pairs of the batch] of each batch, NumPy arrays or tensors; the first batch is the largest.
      titles: likewise.
      threads: Python threads that call; TensorFlow lets go of the interpreter while it computes.
    """
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(score, users[:_WARM_UP_BATCHES], titles[:_WARM_UP_BATCHES]))
        gc.collect()
        with timed() as spent:
            list(pool.map(score, users, titles))
    return Throughput(
        pairs=sum(len(each) for each in users),
        batch=len(users[0]),
        threads=threads,
        seconds=spent.seconds,
        cpu_seconds=spent.cpu_seconds,
    )


def batches_of(column: Any, size: int) -> list[Any]:
    """Consecutive parts of a NumPy array or a tensor, of `size` each; the last may be smaller."""
    return [column[first : first + size] for first in range(0, len(column), size)]


def median(measurements: Sequence[Throughput]) -> Throughput:
    """The one of middling speed; of an even number, the slower of the two."""
    ordered = sorted(measurements, key=lambda each: each.pairs_per_second)
    return ordered[(len(ordered) - 1) // 2]


def show(speed: ScoringSpeed, console: Console) -> None:
    """Prints the tables."""
    latency = speed.latency
    requests = Table(
        "ms a request", "titles", "p50", "p90", "p99", "mean", "CPU", title="requests, one after the other"
    )
    for name, asked in (("rank", latency), (f"recommend {TOP}", speed.recommending)):
        if asked is not None:
            figures = (asked.p50_ms, asked.p90_ms, asked.p99_ms, asked.mean_ms, asked.cpu_ms)
            requests.add_row(name, f"{asked.candidates:,}", *(f"{value:.2f}" for value in figures))
    rates = Table("predict", "batch", "threads", "pairs/s", "pairs/CPU s", "cores used", title="rating of pairs")
    for each in speed.sweep:
        rates.add_row("arrays, once", *_cells(each))
    rates.add_section()
    for name, repeats in (("arrays, median", speed.arrays), ("tensors, median", speed.tensors)):
        rates.add_row(name, *_cells(median(repeats)))
    console.print(requests, rates, markup=False)
    speeds = [each.pairs_per_second for each in speed.arrays]
    console.print(
        f"{latency.requests:,} requests; {speed.arrays[0].pairs:,} pairs; {speed.cores} cores. Requests, and arrays: "
        "from NumPy arrays of Python strings to NumPy arrays; tensors: without these conversions. The medians are of "
        f"{len(speeds)} repeats with the batch and threads that were fastest, from {min(speeds):,.0f} to "
        f"{max(speeds):,.0f} pairs/s for arrays. CPU: processor time of all threads. Where fewer cores were used than "
        "there are, other work may have had them.",
        highlight=False,
    )


def save(speed: ScoringSpeed, output: pathlib.Path) -> None:
    """Writes RESULTS_FILE into a folder."""
    atomic.write_text(output / RESULTS_FILE, json.dumps(speed.as_json(), indent=2) + "\n")


def _cells(each: Throughput) -> tuple[str, ...]:
    return (
        f"{each.batch:,}",
        str(each.threads),
        f"{each.pairs_per_second:,.0f}",
        f"{each.pairs_per_cpu_second:,.0f}",
        f"{each.cores_used:.2f}",
    )
