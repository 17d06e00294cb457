"""How versions come and go: swaps under load, damage, labels, and what is told of each."""

from __future__ import annotations

import json
import pathlib
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf

from components import push_records
from modules import paths
from pipeline.serving.labels import Labels
from tests.pipeline.serving import pushing, servers
from tests.pipeline.serving.conftest import KNOWN
from tests.pipeline.serving.servers import Running

TITLES = [KNOWN, "Film 05 (1985)", "Film 08 (1988)"]
LIST = {"signature_name": "recommend", "inputs": {"user_id": ["u1"], "k": 5, "exclude": [], "only": []}}


@pytest.fixture
def output(model: str, tmp_path: pathlib.Path) -> pathlib.Path:
    """An output folder of its own, with version 100."""
    (tmp_path / "serving_model").mkdir()
    pushing.push_copy(model, tmp_path, 100)
    return tmp_path


def version_that_answers(served: Running) -> int:
    return int(served.predict(LIST).headers["x-model-version"])


def looks_of(served: Running) -> float:
    """How often the server has looked at the folder of its versions."""
    lines = served.ask("GET", "/monitoring/prometheus/metrics").body.decode().splitlines()
    (count,) = (line.split()[1] for line in lines if line.startswith("movie_ranking_looks_total "))
    return float(count)


def scores(path: str) -> list[float]:
    loaded = tf.saved_model.load(paths.plain(path))
    none = tf.constant([], tf.string)
    asked = {"user_id": tf.constant(["u1"]), "k": tf.constant(5), "exclude": none, "only": none}
    return loaded.signatures["recommend"](**asked)["score"].numpy().tolist()


@pytest.mark.slow
def test_a_new_version_takes_over_under_load_and_no_answer_is_lost(
    model: str, other_model: str, output: pathlib.Path
) -> None:
    expected = {"100": scores(model), "200": scores(other_model)}
    assert expected["100"] != expected["200"]
    faults: list[object] = []
    seen: set[str] = set()
    stop = threading.Event()
    with servers.running(output) as served:

        def ask() -> None:
            while not stop.is_set():
                answer = served.predict(LIST)
                version = answer.headers.get("x-model-version", "")
                if answer.status != 200:
                    faults.append(answer)
                elif not np.allclose(answer.json["outputs"]["score"], expected[version], atol=1e-6):
                    faults.append((version, answer.body))
                seen.add(version)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        pushing.push_copy(other_model, output, 200)
        served.wait_for(lambda: served.states() == {100: "END", 200: "AVAILABLE"})
        stop.set()
        for thread in threads:
            thread.join()
        assert version_that_answers(served) == 200
    assert not faults
    assert seen == {"100", "200"}
    told = [(each["event"], each.get("version")) for each in served.events if each["event"] != "request"]
    assert [each for each in told if each[1]] == [
        ("loaded", 100),
        ("in service", 100),
        ("loaded", 200),
        ("in service", 200),
        ("unloaded", 100),
    ]


@pytest.mark.slow
def test_what_cannot_be_served_is_told_and_the_old_version_answers(model: str, output: pathlib.Path) -> None:
    with servers.running(output) as served:
        # Changed since it was judged.
        changed = pushing.push_copy(model, output, 201, recorded=False)
        push_records.write(str(output / "serving_model"), 201, "0" * 64)
        # Judged, but nothing that TensorFlow can load.
        broken = output / "broken"
        shutil.copytree(model, broken)
        (broken / "saved_model.pb").write_bytes(b"no model")
        pushing.push_copy(broken, output, 202)
        # Loads, but does not answer its own warm-up requests.
        silent = output / "silent"
        shutil.copytree(model, silent)
        (silent / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records")
        pushing.push_copy(silent, output, 203)
        served.wait_for(lambda: [served.states().get(number) for number in (201, 202, 203)] == ["END"] * 3)
        assert served.states()[100] == "AVAILABLE"
        told = {
            int(each["version"]): each["status"]
            for each in served.ask("GET", "/v1/models/movie_ranking").json["model_version_status"]
        }
        assert told[201]["error_code"] == "DATA_LOSS"
        assert "expected the files that were judged, SHA-256 0000" in told[201]["error_message"]
        assert told[202]["error_code"] == "INTERNAL"
        assert "expected a model that can be loaded" in told[202]["error_message"]
        assert "tf_serving_warmup_requests" in told[203]["error_message"]
        assert version_that_answers(served) == 100
        metrics = served.ask("GET", "/monitoring/prometheus/metrics").body.decode()
        assert "movie_ranking_load_failures_total 3.0" in metrics
        # Each is told once, and tried again only if its files change.
        assert sum(each["event"] == "not loaded" for each in served.events) == 3
        shutil.rmtree(changed)
        pushing.push_copy(model, output, 204)
        served.wait_for(lambda: version_that_answers(served) == 204)
        assert 201 not in served.states()


def test_without_a_record_a_version_is_refused(model: str, output: pathlib.Path) -> None:
    with servers.running(output) as served:
        pushing.push_copy(model, output, 200, recorded=False)
        served.wait_for(lambda: served.states().get(200) == "END")
        (status, _) = served.ask("GET", "/v1/models/movie_ranking").json["model_version_status"]
        assert status["status"]["error_code"] == "FAILED_PRECONDITION"
        assert "expected Pusher's record of version 200" in status["status"]["error_message"]
        assert version_that_answers(served) == 100
        # Which heals as soon as there is one.
        digest = served.predict(LIST).headers["x-model-digest"]
        push_records.write(str(output / "serving_model"), 200, digest)
        served.wait_for(lambda: version_that_answers(served) == 200)


@pytest.mark.slow
def test_labels_choose_the_version(model: str, other_model: str, output: pathlib.Path) -> None:
    pushing.push_copy(other_model, output, 200)
    labels = {"stable": 100, "canary": 200}
    Labels(labels=labels, canary_share=0.5).write(output / "serving_model")

    def ask(user: str, signature: str = "similar") -> int:
        inputs = {
            "recommend": {"user_id": [user], "k": 1, "exclude": [], "only": []},
            "similar": {"movie_title": [KNOWN], "k": 1, "exclude": [], "only": []},
        }[signature]
        return int(served.predict({"signature_name": signature, "inputs": inputs}).headers["x-model-version"])

    with servers.running(output) as served:
        served.wait_for(lambda: served.states() == {100: "AVAILABLE", 200: "AVAILABLE"})
        assert ask("") == 100  # about nobody
        given = {user: ask(user, "recommend") for user in (f"u{number}" for number in range(20))}
        assert set(given.values()) == {100, 200}
        expected = Labels.read(output / "serving_model")
        assert given == {user: expected.version_for(user) for user in given}
        with served.prediction() as stub:
            for user, version in given.items():
                request = servers.predict_request("rank", {"user_id": [user], "movie_title": TITLES})
                assert stub.Predict(request, timeout=servers.TIMEOUT_S).model_spec.version.value == version
            request = servers.predict_request("rank", {"user_id": ["u1"], "movie_title": TITLES}, label="canary")
            assert stub.Predict(request, timeout=servers.TIMEOUT_S).model_spec.version.value == 200
        for label, version in labels.items():
            path = f"/v1/models/movie_ranking/labels/{label}"
            assert int(served.predict(LIST, f"{path}:predict").headers["x-model-version"]) == version
            assert served.ask("GET", path).json["model_version_status"][0]["version"] == str(version)
        # Damaged labels change nothing.
        (output / "serving_model" / "labels.json").write_text("{")
        served.wait_for(lambda: any(each["event"] == "fault" for each in served.events))
        assert ask("") == 100
        Labels(labels={"stable": 200}).write(output / "serving_model")
        served.wait_for(lambda: served.states() == {100: "END", 200: "AVAILABLE"})
        assert ask("") == 200


def test_the_server_waits_for_the_first_version(model: str, tmp_path: pathlib.Path) -> None:
    with servers.running(tmp_path, ready=False) as served:
        assert served.ask("GET", "/healthz").status == 200
        answer = served.ask("GET", "/readyz")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        answer = served.predict(LIST)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.error == "Servable not found for request: Latest(movie_ranking)"
        assert served.ask("GET", "/v1/models/movie_ranking").status == 404
        pushing.push(model, tmp_path)
        served.wait_until_ready()
        assert served.predict(LIST).status == 200


def test_a_folder_that_is_emptied_leaves_the_last_version_in_service(output: pathlib.Path) -> None:
    with servers.running(output) as served:
        shutil.rmtree(output / "serving_model")
        looks = looks_of(served)
        # The look that is under way may have begun before.
        served.wait_for(lambda: looks_of(served) > looks + 1)
        assert version_that_answers(served) == 100
        assert json.loads(json.dumps(served.states())) == {"100": "AVAILABLE"}
