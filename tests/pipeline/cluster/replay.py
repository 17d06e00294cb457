"""A cluster of one machine: runs a compiled job task by task, as Vertex AI does; `kubeflow_replay` has what differs.

It knows the pipeline specification and nothing of this project. Each container's own command is run, in a process of
its own that sees the variables of the image only. Buckets are folders: `gs://name` is replaced throughout
the job by a local path. Artifacts outlive a job, so that resolvers and the cache of the next one find them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
import subprocess
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.pipeline.cluster.warm_python import WarmPython

Json = dict[str, Any]
SUCCEEDED, CACHED, FAILED, NOT_TRIGGERED = "SUCCEEDED", "CACHED", "FAILED", "NOT_TRIGGERED"
_PLACEHOLDER = re.compile(r"\{\{\$(?:\.(.*?))?\}\}")
_STEP = re.compile(r"\.?([A-Za-z_]+)|\['([^']*)'\]")
_INSTANCE_TITLE = re.compile(r"^title: (\S+)", re.MULTILINE)
# Values of the first schema version, by type.
_LEGACY_VALUE = {"STRING": "stringValue", "INT": "intValue", "DOUBLE": "doubleValue"}


class ReplayError(Exception):
    """The job asks for what no cluster would do."""


@dataclasses.dataclass
class Task:
    """What became of a task.

    Attributes:
      state: SUCCEEDED, CACHED, FAILED or NOT_TRIGGERED.
      inputs: the artifacts it was given, by key.
      outputs: the artifacts it left, by key; each a RuntimeArtifact as a dict.
      parameters: the parameters that it ran with.
      attempts: how often its container was started.
      log: what its last process wrote.
    """

    state: str
    inputs: dict[str, list[Json]] = dataclasses.field(default_factory=dict)
    outputs: dict[str, list[Json]] = dataclasses.field(default_factory=dict)
    parameters: Json = dataclasses.field(default_factory=dict)
    attempts: int = 0
    log: str = ""


class Cluster:
    """Runs jobs, and keeps their artifacts and cache."""

    def __init__(self, buckets: dict[str, pathlib.Path], python: WarmPython, run_class: type[Run]) -> None:
        """Prepares it.

        Args:
          buckets: local folder by bucket, such as {"gs://bucket": Path("/tmp/bucket")}.
          python: runs what containers run.
          run_class: runs one job.
        """
        self._buckets, self._python = buckets, python
        self._run_class = run_class
        self._live: list[Json] = []
        self._cache: dict[str, dict[str, list[Json]]] = {}
        self._jobs = 0

    def run(self, job: Json, parameters: Json | None = None) -> dict[str, Task]:
        """Runs a job to its end; returns its tasks by name, in the order in which they ran.

        Args:
          job: a PipelineJob.
          parameters: values over the job's own.

        Raises:
          ReplayError: a parameter is unknown or has no value, or an edge leads nowhere.
        """
        self._jobs += 1
        job = self._localised(job)
        return self._run_class(self, job, f"job-{self._jobs}", self._localised(parameters or {})).run()

    def _localised(self, value: Any) -> Any:
        text = json.dumps(value)
        for bucket, folder in self._buckets.items():
            text = text.replace(bucket, str(folder))
        return json.loads(text)

    def execute(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a container's command line."""
        if command[0] != "python":
            raise ReplayError(f"expected a command of the image's python; got {command[0]}")
        return self._python.run(command[1:])

    def query(self, text: str) -> list[Json]:
        """The latest artifact that meets a resolver's filter, or none."""
        found = [artifact for artifact in self._live if all(_meets(artifact, part) for part in text.split(" AND "))]
        return found[-1:]

    def publish(self, artifacts: list[Json]) -> None:
        """Makes artifacts known to resolvers."""
        self._live += artifacts

    def cached(self, fingerprint: str) -> dict[str, list[Json]] | None:
        """Outputs of an earlier task of that fingerprint."""
        return self._cache.get(fingerprint)

    def remember(self, fingerprint: str, outputs: dict[str, list[Json]]) -> None:
        """Keeps outputs for tasks of that fingerprint."""
        self._cache[fingerprint] = outputs


class Run:
    """One job on a cluster.

    Attributes:
      cluster: that runs it.
      name: of the job.
      root: folder of the job's artifacts.
    """

    def __init__(self, cluster: Cluster, job: Json, name: str, parameters: Json) -> None:
        self.cluster, self.name = cluster, name
        self._spec = job["pipelineSpec"]
        self._legacy = self._spec["schemaVersion"] == "2.0.0"
        runtime = job["runtimeConfig"]
        self.root = pathlib.Path(runtime["gcsOutputDirectory"]) / name
        self._parameters = self._job_parameters(runtime, parameters)
        self._tasks: dict[str, Task] = {}

    def run(self) -> dict[str, Task]:
        for name in self._order():
            self._tasks[name] = self._run_task(name, self._spec["root"]["dag"]["tasks"][name])
        return self._tasks

    def _job_parameters(self, runtime: Json, given: Json) -> Json:
        definitions = self._spec["root"].get("inputDefinitions", {}).get("parameters", {})
        values = {name: each["defaultValue"] for name, each in definitions.items() if "defaultValue" in each}
        values |= runtime.get("parameterValues", {})
        values |= {name: next(iter(value.values())) for name, value in runtime.get("parameters", {}).items()}
        values |= given
        if set(values) != set(definitions):
            raise ReplayError(f"expected values of exactly {sorted(definitions)}; got {sorted(values)}")
        return values

    def _order(self) -> list[str]:
        waiting = {
            name: set(task.get("dependentTasks", ()))
            | {
                each["taskOutputArtifact"]["producerTask"]
                for each in task.get("inputs", {}).get("artifacts", {}).values()
            }
            for name, task in self._spec["root"]["dag"]["tasks"].items()
        }
        order: list[str] = []
        while waiting:
            ready = sorted(name for name, before in waiting.items() if before <= set(order))
            if not ready:
                raise ReplayError(f"these tasks wait for what never comes: {waiting}")
            order += ready
            for name in ready:
                del waiting[name]
        return order

    def _run_task(self, name: str, task: Json) -> Task:
        before = [*task.get("dependentTasks", ())]
        before += [
            each["taskOutputArtifact"]["producerTask"] for each in task.get("inputs", {}).get("artifacts", {}).values()
        ]
        if any(self._tasks[each].state not in (SUCCEEDED, CACHED) for each in before):
            return Task(NOT_TRIGGERED)
        component = self._spec["components"][task["componentRef"]["name"]]
        executor = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]
        inputs = {}
        for key, source in task.get("inputs", {}).get("artifacts", {}).items():
            edge = source["taskOutputArtifact"]
            inputs[key] = self._tasks[edge["producerTask"]].outputs[edge["outputArtifactKey"]]
        parameters = {
            key: self._parameter(source) for key, source in task.get("inputs", {}).get("parameters", {}).items()
        }
        if "resolver" in executor:
            return self._resolve(executor["resolver"], inputs, parameters)
        return self.run_container(name, task, component, executor["container"], inputs, parameters)

    def _parameter(self, source: Json) -> Any:
        if "componentInputParameter" in source:
            return self._parameters[source["componentInputParameter"]]
        value = source["runtimeValue"]
        return value["constant"] if "constant" in value else next(iter(value["constantValue"].values()))

    def _resolve(self, resolver: Json, inputs: dict[str, list[Json]], parameters: Json) -> Task:
        if not all(inputs.values()):
            # What it would look for was not found itself.
            return Task(SUCCEEDED, inputs=inputs, outputs={key: [] for key in resolver["outputArtifactQueries"]})
        document = executor_input(inputs, parameters, {}, "")
        outputs = {
            key: self.cluster.query(substitute(query["filter"], document))
            for key, query in resolver["outputArtifactQueries"].items()
        }
        return Task(SUCCEEDED, inputs=inputs, outputs=outputs, parameters=parameters)

    def run_container(
        self, name: str, task: Json, component: Json, container: Json, inputs: dict[str, list[Json]], parameters: Json
    ) -> Task:
        """Runs a task of a container.

        Args:
          name: of the task.
          task: as the job has it.
          component: what it takes and makes.
          container: its command.
          inputs: the artifacts that it is given, by key.
          parameters: their values.

        Raises:
          ReplayError: the parameters are not those of the component.
        """
        definitions = component.get("outputDefinitions", {}).get("artifacts", {})
        folder = self.root / name
        outputs = {
            key: [
                {
                    "name": f"stores/default/artifacts/{self.name}-{name}-{key}",
                    "uri": str(folder / key),
                    "type": definition["artifactType"],
                    "metadata": definition.get("metadata", {}),
                }
            ]
            for key, definition in definitions.items()
        }
        output_file = folder / "executor_output.json"
        for each in outputs.values():
            # In a bucket every folder exists.
            pathlib.Path(each[0]["uri"]).mkdir(parents=True, exist_ok=True)
        types = component.get("inputDefinitions", {}).get("parameters", {})
        if set(types) != set(parameters):
            raise ReplayError(f"{name}: expected parameters {sorted(types)}; got {sorted(parameters)}")

        def document() -> Json:
            return executor_input(
                inputs, self._typed(parameters, types), outputs, str(output_file), legacy=self._legacy
            )

        done = Task(FAILED, inputs=inputs, outputs=outputs, parameters=parameters)
        if "lifecycle" in container:
            hook = container["lifecycle"]["preCacheCheck"]
            driver = self.cluster.execute([substitute(each, document()) for each in (*hook["command"], *hook["args"])])
            done.log = driver.stdout
            if driver.returncode:
                return done
            merge_output(output_file, outputs, parameters)
        fingerprint = _fingerprint(component, container, inputs, parameters)
        if task.get("cachingOptions", {}).get("enableCache") and (known := self.cluster.cached(fingerprint)):
            return Task(CACHED, inputs=inputs, outputs=known, parameters=parameters)
        command = [substitute(each, document()) for each in (*container["command"], *container["args"])]
        for done.attempts in range(1, 2 + task.get("retryPolicy", {}).get("maxRetryCount", 0)):
            process = self.cluster.execute(command)
            done.log = process.stdout
            if not process.returncode:
                merge_output(output_file, outputs, {})
                done.state = SUCCEEDED
                self.cluster.publish([artifact for each in outputs.values() for artifact in each])
                self.cluster.remember(fingerprint, outputs)
                break
        return done

    def _typed(self, parameters: Json, types: Json) -> Json:
        if not self._legacy:
            return parameters
        # What a driver adds has no declared type, and is a value of the second schema version.
        return {key: {_LEGACY_VALUE[types[key]["type"]]: value} for key, value in parameters.items() if key in types}


def executor_input(
    inputs: dict[str, list[Json]],
    parameters: Json,
    outputs: dict[str, list[Json]],
    output_file: str,
    *,
    legacy: bool = False,
) -> Json:
    """An ExecutorInput; the published protocol buffer accepts it, and has the last word on its spelling."""
    document = {
        "inputs": {
            "artifacts": {key: {"artifacts": each} for key, each in inputs.items()},
            "parameters" if legacy else "parameterValues": parameters,
        },
        "outputs": {
            "artifacts": {key: {"artifacts": each} for key, each in outputs.items()},
            "outputFile": output_file,
        },
    }
    message = json_format.ParseDict(document, pipeline_spec_pb2.ExecutorInput())
    return json_format.MessageToDict(message)


def substitute(text: str, document: Json) -> str:
    """Replaces `{{$}}` by the document, and paths such as `{{$.inputs.artifacts['model'].uri}}` by values in it.

    Raises:
      ReplayError: a path leads nowhere.
    """

    def value(match: re.Match[str]) -> str:
        if not match[1]:
            return json.dumps(document)
        place: Any = document
        for plain, quoted in _STEP.findall(match[1]):
            # One artifact is meant where there is a list of one.
            if isinstance(place, dict) and set(place) == {"artifacts"} and (plain or quoted) != "artifacts":
                place = place["artifacts"][0]
            if not isinstance(place, dict) or (plain or quoted) not in place:
                raise ReplayError(f"{match[0]} leads nowhere in {json.dumps(document)}")
            place = place[plain or quoted]
        return place if isinstance(place, str) else json.dumps(place)

    return _PLACEHOLDER.sub(value, text)


def merge_output(path: pathlib.Path, outputs: dict[str, list[Json]], parameters: Json) -> None:
    """Takes over what a process wrote: new values of parameters, and where and what its artifacts are."""
    message = json_format.Parse(path.read_text(encoding="utf-8"), pipeline_spec_pb2.ExecutorOutput())
    written = json_format.MessageToDict(message)
    parameters.update(written.get("parameterValues", {}))
    for key, each in written.get("artifacts", {}).items():
        for artifact, update in zip(outputs[key], each["artifacts"], strict=True):
            artifact["uri"] = update["uri"]
            artifact["metadata"] = {**artifact.get("metadata", {}), **update.get("metadata", {})}


def _fingerprint(component: Json, container: Json, inputs: dict[str, list[Json]], parameters: Json) -> str:
    names = {key: [artifact["name"] for artifact in each] for key, each in inputs.items()}
    text = json.dumps([component, container["image"], container["args"], names, parameters], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _meets(artifact: Json, condition: str) -> bool:
    """Whether an artifact meets one condition of a filter."""
    key, _, text = condition.partition("=")
    wanted = text.strip('"')
    if key == "schema_title":
        return _INSTANCE_TITLE.findall(artifact["type"]["instanceSchema"]) == [wanted]
    if key == "state":
        return wanted == "LIVE"
    if key == "name":
        return artifact["name"] == wanted
    match = re.fullmatch(r"metadata\.(\w+)\.number_value", key)
    if not match:
        raise ReplayError(f"cannot tell what the condition {condition} means")
    return artifact["metadata"].get(match[1]) == float(wanted)
