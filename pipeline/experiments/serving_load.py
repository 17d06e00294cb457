"""How fast the server answers beside the model in one process, under a given load, and while versions change.

Latencies go from NumPy arrays to what the client makes of the answer, so that both conversions count. Closed loop: each
client asks anew once it has its answer. Open loop: requests are due at a steady rate, whether or not the ones before
are answered; a latency is counted from the moment at which the request was due, so that waiting counts, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import json
import os
import pathlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from rich import box
from rich.console import Console
from rich.table import Column, Table

from data import atomic
from modules import features
from modules.progress import Pace
from modules.recommending import EXCLUDE, ONLY, RECOMMEND, K
from modules.serving import PREDICT, RANK
from pipeline.experiments.scoring import TOP, Report, ScoredModel
from pipeline.experiments.serving_clients import GRPC, REST, Ask, Client, FailedError, GrpcClient, Question, RestClient
from pipeline.experiments.serving_process import Served, ServerProcess, serving

RESULTS_FILE = "serving.json"
IN_PROCESS, CLOSED = "in process", "closed"
PAIRS, FEW_TITLES, MANY_TITLES = 100, 100, 1_000
# Different questions of a kind, asked by turns.
_DRAWN = 64
_WARM_UP_REQUESTS = 50
# As many clients as may be waiting at once in the open loop.
_OPEN_CLIENTS = 32
# A version that is not loaded by then never will be.
_SWAP_TIMEOUT_S = 300.0
_FAULTS_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timed:
    """How long requests took.

    Attributes:
      kind: what was asked, such as "rank 100".
      how: in process, or the protocol.
      loop: "closed", or "open" at a given rate.
      clients: that asked at once.
      requests: how many were timed.
      failed: how many of them had no answer.
      p50_ms: median of those that had, as `numpy.percentile` interpolates it; NaN if none had.
      p99_ms: 99th percentile of them.
      requests_per_s: answers by seconds of the whole.
    """

    kind: str
    how: str
    loop: str
    clients: int
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    requests_per_s: float

    @classmethod
    def of(cls, answers: Sequence[Answered], seconds: float, **more: Any) -> Timed:
        """Sums up requests that took so many seconds all in all."""
        good = [each.seconds for each in answers if not each.fault]
        p50, p99 = percentiles_ms(good)
        return cls(
            requests=len(answers),
            failed=len(answers) - len(good),
            p50_ms=p50,
            p99_ms=p99,
            requests_per_s=len(good) / seconds,
            **more,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered:
    """One request.

    Attributes:
      due: when it was due, seconds since 1970.
      seconds: from then until its answer was read.
      fault: why it had none; "" if it had.
    """

    due: float
    seconds: float
    fault: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swaps:
    """What versions cost that are pushed under load.

    Attributes:
      swaps: versions that were pushed and taken into service.
      minutes: of load.
      rate: requests a second that were due.
      requests: how many were made; of rank, over both protocols.
      failed: how many of them had no answer.
      faults: the first of the reasons.
      steady_p50_ms: median while versions did not change.
      steady_p99_ms: 99th percentile then.
      swap_p50_ms: median of requests that were due between a push and the end of the version before.
      swap_p99_ms: 99th percentile of them.
      swap_requests: how many these were.
      swap_seconds: from a push until the new version answered, the median.
      resident_bytes_second: memory of the server and its processes once the second version had replaced the first.
      resident_bytes_end: memory of them after the last.
    """

    swaps: int
    minutes: float
    rate: float
    requests: int
    failed: int
    faults: tuple[str, ...]
    steady_p50_ms: float
    steady_p99_ms: float
    swap_p50_ms: float
    swap_p99_ms: float
    swap_requests: int
    swap_seconds: float
    resident_bytes_second: int
    resident_bytes_end: int

    @property
    def p99_ratio(self) -> float:
        """By how much the 99th percentile grows during swaps."""
        return self.swap_p99_ms / self.steady_p99_ms

    @property
    def memory_growth(self) -> float:
        """By how much the memory has grown since the second version, as a share."""
        return self.resident_bytes_end / self.resident_bytes_second - 1.0

    def as_json(self) -> dict[str, Any]:
        """The attributes and what follows from them."""
        return {**dataclasses.asdict(self), "p99_ratio": self.p99_ratio, "memory_growth": self.memory_growth}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingSpeed:
    """What was measured.

    Attributes:
      model: folder of the model.
      seed: of the users and titles that were drawn.
      cores: that this process may use, which asks; the server has the same.
      start_seconds: from the start of the server until it was ready.
      timed: the requests.
      swaps: what changes of versions cost; None if they were not asked for.
    """

    model: pathlib.Path
    seed: int
    cores: int
    start_seconds: float
    timed: tuple[Timed, ...]
    swaps: Swaps | None

    def as_json(self) -> dict[str, Any]:
        """What `save` writes."""
        return {
            "model": str(self.model),
            "seed": self.seed,
            "cores": self.cores,
            "tensorflow": tf.__version__,
            "start_seconds": self.start_seconds,
            "requests": [dataclasses.asdict(each) for each in self.timed],
            "swaps": None if self.swaps is None else self.swaps.as_json(),
        }


def measure(
    model: ScoredModel,
    folder: pathlib.Path,
    *,
    requests: int,
    clients: int,
    rate: float,
    seconds: float,
    swaps: int,
    minutes: float,
    seed: int,
    report: Report,
) -> ServingSpeed:
    """Measures in process, then the closed loop and the open loop of both protocols, then swaps.

    Args:
      model: what to ask, and to serve copies of.
      folder: where the copies go for as long as they are served.
      requests: of each kind that are timed in the closed loop.
      clients: of the closed loop with several, after that with one.
      rate: requests a second of the open loop.
      seconds: of each open loop.
      swaps: versions that are pushed under load; 0 for none.
      minutes: of that load.
      seed: of the users and titles that are drawn.
      report: is called with one line of progress, never while something is timed.

    Raises:
      UserError: the server does not start, or does not take a version.
    """
    questions = draw(model, np.random.default_rng(seed))
    timed: list[Timed] = []
    counts = sorted({1, clients})
    total, pace = len(questions) * (1 + 2 * len(counts)) + 2, Pace("loads")

    def tell() -> None:
        report(f"[{len(timed)}/{total}] {_said(timed[-1])}; {pace.after(len(timed), total)}")

    for kind, drawn in questions.items():
        timed.append(closed_loop(kind, IN_PROCESS, [_asks(model)], drawn, requests))
        tell()
    load = questions[f"rank {FEW_TITLES}"]
    with tempfile.TemporaryDirectory(dir=folder, prefix="serving-") as made:
        served = Served(model.path, pathlib.Path(made))
        served.push()
        report("starting the server")
        with serving(served.output) as server:
            for kind, drawn in questions.items():
                for how in (GRPC, REST):
                    for count in counts:
                        with connected(server, [how] * count) as asking:
                            timed.append(closed_loop(kind, how, asking, drawn, requests))
                        tell()
            for how in (GRPC, REST):
                with connected(server, [how] * _OPEN_CLIENTS) as asking:
                    answers, took = open_loop(asking, load, rate, seconds)
                loop = {"kind": f"rank {FEW_TITLES}", "how": how, "loop": f"{rate:g}/s", "clients": _OPEN_CLIENTS}
                timed.append(Timed.of(answers, took, **loop))
                tell()
            swapped = swap(server, served, load, swaps, minutes, rate, report) if swaps else None
            started = server.start_seconds
    return ServingSpeed(
        model=model.path,
        seed=seed,
        cores=len(os.sched_getaffinity(0)),
        start_seconds=started,
        timed=tuple(timed),
        swaps=swapped,
    )


def draw(model: ScoredModel, rng: np.random.Generator) -> dict[str, list[Question]]:
    """Questions by kind, each about known users and titles, drawn at random; titles repeat where there are too few."""

    def titles(count: int) -> np.ndarray:
        return rng.choice(model.title_names, count, replace=count > len(model.title_names))

    def about(signature: str, users: int, titles_asked: int) -> Question:
        user = rng.choice(model.user_names, users)
        return Question(
            signature=signature, inputs={features.USER_ID.name: user, features.MOVIE_TITLE.name: titles(titles_asked)}
        )

    nobody = np.array([], object)

    def recommend() -> Question:
        user = rng.choice(model.user_names, 1)
        inputs = {features.USER_ID.name: user, K: np.array(TOP, np.int32), EXCLUDE: nobody, ONLY: nobody}
        return Question(signature=RECOMMEND, inputs=inputs)

    kinds: dict[str, Callable[[], Question]] = {
        f"predict {PAIRS}": lambda: about(PREDICT, PAIRS, PAIRS),
        f"rank {FEW_TITLES}": lambda: about(RANK, 1, FEW_TITLES),
        f"rank {MANY_TITLES:,}": lambda: about(RANK, 1, MANY_TITLES),
    }
    if model.recommends:
        kinds[f"recommend {TOP}"] = recommend
    return {kind: [make() for _ in range(_DRAWN)] for kind, make in kinds.items()}


def _asks(model: ScoredModel) -> Ask:
    return lambda question: model.ask(question.signature, question.inputs)


@contextlib.contextmanager
def connected(server: ServerProcess, protocols: Sequence[str]) -> Iterator[list[Ask]]:
    """Clients of the server, one for each of the protocols."""
    clients: list[Client] = [
        GrpcClient(server.grpc_port) if protocol == GRPC else RestClient(server.rest_port) for protocol in protocols
    ]
    try:
        yield [client.ask for client in clients]
    finally:
        for client in clients:
            client.close()


def closed_loop(kind: str, how: str, asking: Sequence[Ask], questions: Sequence[Question], requests: int) -> Timed:
    """Times requests of clients that each ask anew once they have their answer.

    Args:
      kind: of the questions.
      how: they are asked.
      asking: the clients, each of which has a thread.
      questions: asked by turns.
      requests: of all clients.
    """
    numbers = itertools.count()
    answers: list[list[Answered]] = [[] for _ in asking]

    def ask(client: int) -> None:
        while (number := next(numbers)) < requests:
            answers[client].append(_timed(asking[client], questions[number % len(questions)]))

    _warm_up(asking, questions)
    gc.collect()
    took = _in_threads(ask, len(asking))
    return Timed.of(list(itertools.chain(*answers)), took, kind=kind, how=how, loop=CLOSED, clients=len(asking))


def open_loop(
    asking: Sequence[Ask], questions: Sequence[Question], rate: float, seconds: float
) -> tuple[list[Answered], float]:
    """Asks at a steady rate, as long as a client is free.

    Args:
      asking: the clients, each of which has a thread.
      questions: asked by turns.
      rate: requests that are due a second.
      seconds: for how long.

    Returns:
      the requests, in the order in which they were due, and the seconds until the last one was answered.
    """
    numbers = itertools.count()
    answers: list[list[Answered]] = [[] for _ in asking]
    _warm_up(asking, questions)
    gc.collect()
    began, epoch, never = time.perf_counter(), time.time(), threading.Event()

    def ask(client: int) -> None:
        while (number := next(numbers)) < rate * seconds:
            due = began + number / rate
            never.wait(max(0.0, due - time.perf_counter()))
            answer = _timed(asking[client], questions[number % len(questions)])
            # From when it was due, also where no client was free by then.
            late = time.perf_counter() - due
            answers[client].append(dataclasses.replace(answer, due=epoch + due - began, seconds=late))

    took = _in_threads(ask, len(asking))
    return sorted(itertools.chain(*answers), key=lambda each: each.due), took


def _timed(ask: Ask, question: Question) -> Answered:
    due, began, fault = time.time(), time.perf_counter(), ""
    try:
        ask(question)
    except FailedError as error:
        fault = str(error)
    return Answered(due=due, seconds=time.perf_counter() - began, fault=fault)


def _warm_up(asking: Sequence[Ask], questions: Sequence[Question]) -> None:
    for number in range(max(_WARM_UP_REQUESTS, len(asking))):
        _timed(asking[number % len(asking)], questions[number % len(questions)])


def _in_threads(run: Callable[[int], None], count: int) -> float:
    """Runs a function in so many threads, with the number of each; the seconds until the last one is done."""
    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def swap(
    server: ServerProcess,
    served: Served,
    questions: Sequence[Question],
    swaps: int,
    minutes: float,
    rate: float,
    report: Report,
) -> Swaps:
    """Pushes versions while requests over both protocols are due at a steady rate.

    Args:
      server: that serves.
      served: what it serves.
      questions: asked by turns.
      swaps: versions that are pushed, at equal distances.
      minutes: how long.
      rate: requests a second.
      report: is called with a line at the start, and after each version.

    Raises:
      UserError: the server does not take a version.
    """
    seconds = 60.0 * minutes
    report(f"{swaps} versions within {minutes:g} minutes, at {rate:g} requests a second")
    answers: list[Answered] = []
    protocols = [(GRPC, REST)[number % 2] for number in range(_OPEN_CLIENTS)]
    windows: list[tuple[float, float]] = []
    taken: list[float] = []
    resident = []
    with connected(server, protocols) as asking:
        load = threading.Thread(
            target=lambda: answers.extend(open_loop(asking, questions, rate, seconds)[0]), daemon=True
        )
        load.start()
        began, never = time.monotonic(), threading.Event()
        for number in range(swaps):
            # The first and the last are as far from the ends as from one another.
            never.wait(max(0.0, began + seconds * (number + 1) / (swaps + 1) - time.monotonic()))
            pushed_at = time.time()
            version = served.push()
            loaded = server.wait_for("loaded", _SWAP_TIMEOUT_S, version=version)
            unloaded = server.wait_for("unloaded", _SWAP_TIMEOUT_S, version=version - 1)
            windows.append((pushed_at, unloaded.seconds))
            taken.append(loaded.seconds - pushed_at)
            resident.append(server.resident_bytes)
            left = max(0.0, began + seconds - time.monotonic())
            report(f"[{number + 1}/{swaps}] a version answers {taken[-1]:.1f} s after its push; {left:.0f} s left")
        load.join()
    resident.append(server.resident_bytes)
    return summed_up(answers, windows, taken, resident, minutes=minutes, rate=rate)


def summed_up(
    answers: Sequence[Answered],
    windows: Sequence[tuple[float, float]],
    taken: Sequence[float],
    resident: Sequence[int],
    *,
    minutes: float,
    rate: float,
) -> Swaps:
    """Sums up what happened while versions were pushed.

    Args:
      answers: all requests.
      windows: from when to when a version changed, seconds since 1970, one for each swap.
      taken: seconds until each version answered.
      resident: memory of the server and its processes after each swap and at the end, bytes.
      minutes: how long it took.
      rate: requests a second.
    """

    def is_within(due: float) -> bool:
        return any(first <= due <= last for first, last in windows)

    good = [answer for answer in answers if not answer.fault]
    during = [answer.seconds for answer in good if is_within(answer.due)]
    steady = [answer.seconds for answer in good if not is_within(answer.due)]
    (steady_p50, steady_p99), (swap_p50, swap_p99) = percentiles_ms(steady), percentiles_ms(during)
    return Swaps(
        swaps=len(windows),
        minutes=minutes,
        rate=rate,
        requests=len(answers),
        failed=len(answers) - len(good),
        faults=tuple(dict.fromkeys(answer.fault for answer in answers if answer.fault))[:_FAULTS_SHOWN],
        steady_p50_ms=steady_p50,
        steady_p99_ms=steady_p99,
        swap_p50_ms=swap_p50,
        swap_p99_ms=swap_p99,
        swap_requests=len(during),
        swap_seconds=float(np.median(taken)),
        resident_bytes_second=resident[0],
        resident_bytes_end=resident[-1],
    )


def percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile, ms; NaN of nothing."""
    if not seconds:
        return float("nan"), float("nan")
    p50, p99 = np.percentile(seconds, [50, 99])
    return 1e3 * float(p50), 1e3 * float(p99)


def _said(timed: Timed) -> str:
    clients = "" if timed.clients == 1 else f", {timed.clients} clients"
    return f"{timed.kind}, {timed.how}, {timed.loop}{clients}: p50 {timed.p50_ms:.2f} ms, p99 {timed.p99_ms:.2f} ms"


def show(speed: ServingSpeed, console: Console) -> None:
    """Prints the tables."""
    headings = ("asked by", "p50", "above\nalone", "p99", "requests\n/s", "failed")
    table = Table(Column("ms a request", no_wrap=True), *headings, box=box.SIMPLE_HEAD, pad_edge=False)
    alone = {each.kind: each.p50_ms for each in speed.timed if each.how == IN_PROCESS}
    for kind, in_process_ms in alone.items():
        for each in (timed for timed in speed.timed if timed.kind == kind):
            clients = "1 client" if each.clients == 1 else f"{each.clients} clients"
            table.add_row(
                f"{kind}, {each.how}",
                clients if each.loop == CLOSED else each.loop,
                f"{each.p50_ms:.2f}",
                "" if each.how == IN_PROCESS else f"{each.p50_ms - in_process_ms:.2f}",
                f"{each.p99_ms:.2f}",
                f"{each.requests_per_s:,.0f}",
                f"{each.failed:,}",
            )
        table.add_section()
    console.print(table, markup=False)
    console.print(
        f"{speed.cores} cores, which clients and server share; the server was ready after {speed.start_seconds:.1f} s. "
        "From NumPy arrays to NumPy arrays or lists; at a steady rate: from when the request was due. Above alone: how "
        "much longer the median takes than in process.",
        highlight=False,
    )
    if speed.swaps is not None:
        _show_swaps(speed.swaps, console)


def _show_swaps(swaps: Swaps, console: Console) -> None:
    table = Table(
        "ms a request", "requests", "p50", "p99", title=f"{swaps.swaps} versions in {swaps.minutes:g} minutes"
    )
    steady = swaps.requests - swaps.failed - swaps.swap_requests
    table.add_row("steady", f"{steady:,}", f"{swaps.steady_p50_ms:.2f}", f"{swaps.steady_p99_ms:.2f}")
    table.add_row(
        "while a version changes", f"{swaps.swap_requests:,}", f"{swaps.swap_p50_ms:.2f}", f"{swaps.swap_p99_ms:.2f}"
    )
    console.print(table, markup=False)
    console.print(
        f"{swaps.failed:,} of {swaps.requests:,} requests failed; p99 {swaps.p99_ratio:.2f} times the steady one; a "
        f"version answers {swaps.swap_seconds:.1f} s after its push; memory {swaps.resident_bytes_second / 2**20:,.0f} "
        f"MiB after the second version, {swaps.resident_bytes_end / 2**20:,.0f} MiB at the end "
        f"({100 * swaps.memory_growth:+.1f} %).",
        highlight=False,
    )
    for fault in swaps.faults:
        console.print(fault, markup=False, highlight=False)


def save(speed: ServingSpeed, output: pathlib.Path) -> None:
    """Writes RESULTS_FILE into a folder."""
    atomic.write_text(output / RESULTS_FILE, as_text(speed) + "\n")


def as_text(speed: ServingSpeed) -> str:
    """The results as JSON, null where there is no such number."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return json.dumps(plain(speed.as_json()), indent=2)
