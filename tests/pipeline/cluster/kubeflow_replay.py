"""How open-source Kubeflow Pipelines (2.5 to 2.17, driver and launcher) runs a task, where it is not Vertex AI's way.

- Artifacts are in a bucket that the task need not reach: the launcher copies what the task takes into its container,
  and from there what it made. In a bucket there are files alone, no folders.
- Of what a task takes it tells an empty type, numbers for names, and properties of its own.
- A task makes one artifact more than its component says: its log.
- It runs no driver before a task. It has no resolvers.

Taken from backend/src/v2/{driver,component,metadata} of kubeflow/pipelines.
"""

from __future__ import annotations

import itertools
import pathlib
import shutil
from typing import Any

from tests.pipeline.cluster import replay
from tests.pipeline.cluster.replay import Json, ReplayError, Task

# TensorFlow as it is installed knows no such file system, so that whatever asks for a URI fails at once.
BUCKET = "s3://artifacts"
LOG = "executor-logs"


class KubeflowRun(replay.Run):
    """A run whose containers are started by the launcher; nothing is taken from the cache."""

    def __init__(self, *details: Any) -> None:
        super().__init__(*details)
        self._bucket, self._containers = self.root / "bucket", self.root / "containers"
        self._numbers = itertools.count(1)

    def run_container(
        self, name: str, task: Json, component: Json, container: Json, inputs: dict[str, list[Json]], parameters: Json
    ) -> Task:
        """Runs a task of a container; see the base class."""
        definitions = component.get("outputDefinitions", {}).get("artifacts", {})
        types = {key: definition["artifactType"] for key, definition in definitions.items()}
        types[LOG] = {"schemaTitle": "system.Artifact"}
        outputs = {
            key: [{"name": key, "uri": f"{BUCKET}/{name}/salt/{key}", "type": type_}] for key, type_ in types.items()
        }
        done = Task(replay.FAILED, inputs=inputs, parameters=parameters)
        for done.attempts in range(1, 2 + task.get("retryPolicy", {}).get("maxRetryCount", 0)):
            mount = self._containers / f"{name}-{done.attempts}"
            self._download(inputs, mount)
            output_file = mount / name / "salt" / "output_metadata.json"
            output_file.parent.mkdir(parents=True, exist_ok=True)
            document = replay.executor_input(inputs, parameters, outputs, str(output_file))
            command = [*container["command"], *container["args"]]
            for side, artifacts in (("inputs", inputs), ("outputs", outputs)):
                for key, (artifact,) in artifacts.items():
                    placeholder = f"{{{{$.{side}.artifacts['{key}'].path}}}}"
                    command = [each.replace(placeholder, str(_local(mount, artifact["uri"]))) for each in command]
            process = self.cluster.execute([replay.substitute(each, document) for each in command])
            done.log = process.stdout
            if not process.returncode:
                replay.merge_output(output_file, outputs, {})
                del outputs[LOG]
                self._upload(outputs, mount)
                done.outputs = {key: [self._recorded(key, artifact)] for key, (artifact,) in outputs.items()}
                done.state = replay.SUCCEEDED
                break
        return done

    def _download(self, inputs: dict[str, list[Json]], mount: pathlib.Path) -> None:
        for (artifact,) in inputs.values():
            stored = _local(self._bucket, artifact["uri"])
            if stored.exists():
                shutil.copytree(stored, _local(mount, artifact["uri"]))

    def _upload(self, outputs: dict[str, list[Json]], mount: pathlib.Path) -> None:
        for (artifact,) in outputs.values():
            made, stored = _local(mount, artifact["uri"]), _local(self._bucket, artifact["uri"])
            for path in made.rglob("*"):
                if path.is_file():
                    target = stored / path.relative_to(made)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)

    def _recorded(self, key: str, artifact: Json) -> Json:
        """What a later task is told of it, once it was in ML Metadata."""
        metadata = {name: _property(key, name, value) for name, value in artifact.get("metadata", {}).items()}
        return {
            "name": str(next(self._numbers)),
            "uri": artifact["uri"],
            "type": {"instanceSchema": ""},
            "metadata": {"display_name": key, "store_session_info": "{}", **metadata},
        }


def _property(key: str, name: str, value: Any) -> Any:
    """A property as it comes back from ML Metadata.

    Raises:
      ReplayError: the launcher cannot record it.
    """
    if isinstance(value, dict):
        return {"struct": value}
    if isinstance(value, list):
        return {"list": value}
    if value is None:
        raise ReplayError(f"expected a value of property {name} of {key}; got none")
    return value


def _local(root: pathlib.Path, uri: str) -> pathlib.Path:
    """Where the launcher of a container, or the bucket itself, has what a URI names.

    Raises:
      ReplayError: it is none of the bucket.
    """
    if not uri.startswith(f"{BUCKET}/"):
        raise ReplayError(f"expected a URI in {BUCKET}, which the launcher has access to; got {uri}")
    return root / uri.removeprefix(f"{BUCKET}/")
