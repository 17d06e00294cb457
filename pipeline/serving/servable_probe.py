"""Serves an exported model and asks it everything: `python -m pipeline.serving.servable_probe`.

Reads one JSON line, {"model": folder of the SavedModel, "low": lowest rating of the scale, "high": highest}, and prints
one, {"failures": [...]}: what does not hold, nothing if the model is servable. It runs in a process of its own, so that
nothing of the training process can help the model. The model is loaded, warmed up and asked over gRPC by what serves it
later, on a socket that no other process knows.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Loading TensorFlow makes many objects that stay, and Python would search them for garbage, at the latest at exit.
gc.disable()
atexit.register(gc.freeze)

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from modules import features
from modules.side_tables import UNRATED_PREFIX
from pipeline.serving import grpc_service, tensor_protos
from pipeline.serving.answering import MODEL_NAME, Answering
from pipeline.serving.errors import VersionError
from pipeline.serving.journal import Journal
from pipeline.serving.limits import Limits
from pipeline.serving.loaded_model import LoadedModel
from pipeline.serving.metrics import Metrics
from pipeline.serving.versions import Versions

MOST_RATED = 8
UNKNOWN = "\x00 unknown to every vocabulary"
SIGNATURES = ("serving_default", "predict", "rank")
# Of a model that recommends.
LIST_SIGNATURES = ("recommend", "recommend_for", "recommend_users", "explain", "explain_for", "similar")
LISTED = 10
TOLERANCE = 1e-5
# Whoever waits for the verdict has a limit of their own.
_LIMITS = Limits(seconds=3600.0, under_way=1)


def names(model_path: str, table: features.Table) -> list[str]:
    """The most rated of a table's ids, one that nobody rated if there is one, and one in no table."""
    rated, unrated = (os.path.join(model_path, "assets", prefix + table.key.name) for prefix in ("", UNRATED_PREFIX))
    one_unrated = _first_lines(unrated, 1) if tf.io.gfile.exists(unrated) else []
    return [*_first_lines(rated, MOST_RATED), *one_unrated, UNKNOWN]


def _first_lines(path: str, most: int) -> list[str]:
    with tf.io.gfile.GFile(path, "r") as file:
        return [line.rstrip("\n") for _, line in zip(range(most), file, strict=False)]


def serialize(user: str, title: str) -> bytes:
    """A tf.Example with one user and title."""
    example = tf.train.Example()
    for column, value in ((features.USER_ID, user), (features.MOVIE_TITLE, title)):
        example.features.feature[column.name].bytes_list.value.append(value.encode())
    return example.SerializeToString()


def probe(model_path: str, low: float, high: float) -> list[str]:
    """What does not hold of the exported model, in words; empty if it is servable.

    Args:
      model_path: folder of the SavedModel.
      low: no rating may be lower.
      high: no rating may be higher.
    """
    try:
        model = LoadedModel(model_path, 1, "")
        users, titles = names(model_path, features.USERS), names(model_path, features.TITLES)
    except (VersionError, OSError, tf.errors.OpError) as error:
        return [f"the model does not load: {error}"]
    missing = [name for name in SIGNATURES if name not in model.signatures]
    if missing:
        return [f"expected signatures {', '.join(SIGNATURES)}; missing: {', '.join(missing)}"]
    try:
        model.warm_up(threads=len(os.sched_getaffinity(0)))
    except VersionError as error:
        return [str(error)]
    with _served(model) as service:
        return _failures(model, service, users, titles, low, high)


@contextlib.contextmanager
def _served(model: LoadedModel) -> Iterator[prediction_service_pb2_grpc.PredictionServiceStub]:
    """A server that answers for one model as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="servable-") as folder, open(os.devnull, "w") as nowhere:
        journal, metrics = Journal(nowhere), Metrics()
        versions = Versions(folder, MODEL_NAME, journal, metrics)
        versions.take_into_service(model)
        answering = Answering(versions, MODEL_NAME, _LIMITS, metrics, journal, threads=1)
        address = f"unix:{folder}/grpc"
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="server")
        thread.start()

        async def start() -> grpc.aio.Server:
            server = grpc_service.server(answering, None)
            server.add_insecure_port(address)
            await server.start()
            return server

        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
                yield prediction_service_pb2_grpc.PredictionServiceStub(channel)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(None), loop).result()
            answering.close()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _array(values: Any, dtype: tf.DType) -> np.ndarray:
    """Values as the client of a server gives them: text is bytes in an array of objects."""
    array = np.asarray(values)
    if dtype != tf.string:
        return array.astype(dtype.as_numpy_dtype)
    return np.array([tf.compat.as_bytes(text) for text in array.ravel().tolist()], object).reshape(array.shape)


def _failures(
    model: LoadedModel,
    service: prediction_service_pb2_grpc.PredictionServiceStub,
    users: list[str],
    titles: list[str],
    low: float,
    high: float,
) -> list[str]:
    grid = [(user, title) for user in users for title in titles]
    pairs = {
        features.USER_ID.name: np.array([user for user, _ in grid]),
        features.MOVIE_TITLE.name: np.array([title for _, title in grid]),
    }
    failures: list[str] = []

    def ask(name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except grpc.RpcError as error:
            failures.append(f"{name} failed: {error.code().name}: {error.details()}")
            return None
        except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
            failures.append(f"{name} failed: {type(error).__name__}: {error}")
            return None

    def ratings(name: str, call: Callable[[], Any], shape: tuple[int, ...]) -> np.ndarray | None:
        answer = ask(name, lambda: np.asarray(call()))
        if answer is None:
            return None
        if answer.shape != shape or answer.dtype != np.float32:
            failures.append(f"{name}: expected float32 {list(shape)}; got {answer.dtype} {list(answer.shape)}")
            return None
        if not np.isfinite(answer).all():
            failures.append(f"{name}: expected finite ratings; got {answer[~np.isfinite(answer)][:3].tolist()}")
        elif answer.size and (answer.min() < low - TOLERANCE or answer.max() > high + TOLERANCE):
            failures.append(f"{name}: expected ratings in [{low}, {high}]; got [{answer.min()}, {answer.max()}]")
        return answer

    def signature(name: str, **inputs: Any) -> dict[str, np.ndarray]:
        asked = model.signatures[name]
        arrays = {key: _array(value, asked.inputs[key].dtype) for key, value in inputs.items()}
        answer = service.Predict(tensor_protos.request(MODEL_NAME, asked, arrays))
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    serialized = np.array([serialize(user, title) for user, title in grid], object)
    batch = (len(grid), 1)
    called = ratings("the loaded object", lambda: model.call(pairs), batch)
    served = ratings(
        "serving_default", lambda: signature("serving_default", examples=serialized)["predicted_rating"], batch
    )
    predicted = ratings("predict", lambda: signature("predict", **pairs)["predicted_rating"], batch)
    one = ratings(
        "predict, batch of one",
        lambda: signature("predict", user_id=[grid[0][0]], movie_title=[grid[0][1]])["predicted_rating"],
        (1, 1),
    )
    for name, answer in (("serving_default", served), ("predict", predicted)):
        if called is not None and answer is not None and not np.allclose(answer, called, atol=TOLERANCE):
            failures.append(f"{name} and the loaded object differ by up to {np.abs(answer - called).max()}")
    if called is not None and one is not None and not np.allclose(one, called[:1], atol=TOLERANCE):
        failures.append(f"a batch of one gives {one.item()} where the whole batch gives {called[0].item()}")

    ranked = ask("rank", lambda: signature("rank", user_id=[users[0]], movie_title=titles))
    if ranked is not None:
        scores = ratings("rank", lambda: ranked["predicted_rating"], (len(titles),))
        order = [title.decode() for title in ranked[features.MOVIE_TITLE.name]]
        if sorted(order) != sorted(titles):
            failures.append(f"rank: expected the {len(titles)} titles it was given; got {order}")
        elif scores is not None and called is not None:
            expected = [called[titles.index(title), 0] for title in order]
            if (np.diff(scores) > 0).any() or not np.allclose(scores, expected, atol=TOLERANCE):
                failures.append(f"rank: expected the ratings of `predict`, best first; got {scores.tolist()}")

    def listed(name: str, **inputs: Any) -> list[str]:
        answer = ask(name, lambda: signature(name, **inputs))
        if answer is None:
            return []
        found = [title.decode() for title in answer[features.MOVIE_TITLE.name]]
        if len(set(found)) != len(found) or len(found) > LISTED:
            failures.append(f"{name}: expected up to {LISTED} different titles; got {found}")
        if not np.isfinite(answer["score"]).all() or (np.diff(answer["score"]) > 0).any():
            failures.append(f"{name}: expected finite scores, best first; got {answer['score'].tolist()}")
        if "predicted_rating" in answer:
            ratings(name, lambda: answer["predicted_rating"], (len(found),))
        return found

    lacking = [name for name in LIST_SIGNATURES if name not in model.signatures]
    if 0 < len(lacking) < len(LIST_SIGNATURES):
        failures.append(f"expected all signatures of lists or none; missing: {', '.join(lacking)}")
    if not lacking:
        none: list[str] = []
        of_new = {features.MOVIE_TITLE.name: titles[:2], features.USER_RATING.name: np.array([high, low], np.float32)}
        asked: list[tuple[str, dict[str, Any]]] = [("recommend", {features.USER_ID.name: [user]}) for user in users]
        asked += [("recommend_for", of_new), ("similar", {features.MOVIE_TITLE.name: titles[:1]})]
        for name, inputs in asked:
            best = listed(name, k=LISTED, exclude=none, only=none, **inputs)
            if best and (kept := set(best[:2]) & set(listed(name, k=LISTED, exclude=best[:2], only=none, **inputs))):
                failures.append(f"{name}: expected none of the excluded titles; got {sorted(kept)}")
            if best and (others := set(listed(name, k=LISTED, exclude=none, only=best[-1:], **inputs)) - {best[-1]}):
                failures.append(f"{name}: expected no other titles than those asked for; got {sorted(others)}")
        wanted = {"k": LISTED, "exclude": none, "only": none}

        def scores_of(name: str, asked: list[str]) -> np.ndarray:
            return signature(name, user_id=asked, **wanted)["score"].reshape(len(asked), -1)

        many = ask("recommend_users", functools.partial(scores_of, "recommend_users", users))
        for row, user in enumerate(users):
            alone = ask("recommend", functools.partial(scores_of, "recommend", [user]))
            if alone is None or many is None:
                continue
            together = many[[row], : alone.shape[1]]
            if together.shape != alone.shape or not np.allclose(together, alone, atol=TOLERANCE):
                failures.append(f"recommend_users: expected the scores of `recommend`, {alone}; got {together}")
        for name, person in (("explain", {features.USER_ID.name: users[:1]}), ("explain_for", of_new)):
            told = ask(name, functools.partial(signature, name, asked_title=titles[:2], **person))
            if told is not None and not np.allclose(
                told["score"], sum(told[key].sum(axis=1) for key in ("shares", "feature_shares")), atol=TOLERANCE
            ):
                failures.append(f"{name}: expected shares that add up to the scores, {told['score'].tolist()}")
    return failures


def main() -> None:
    """Answers one request; without any, as when whoever would have asked is gone, it just ends."""
    request = sys.stdin.readline()
    if request:
        asked = json.loads(request)
        print(json.dumps({"failures": probe(asked["model"], asked["low"], asked["high"])}))


if __name__ == "__main__":
    main()
