"""What a report says of a run, out of ML Metadata, the run's record and the artifacts."""

from __future__ import annotations

import json
from typing import Any

from components import report_facts
from components.outcome import Outcome
from pipeline.local import results
from pipeline.local.intact import DIGEST_PROPERTY
from pipeline.local.past_runs import PastRun
from pipeline.local.run_artifacts import RunArtifacts
from pipeline.report.facts import Run, Step

_CODE = "code_fingerprint"


def facts_of(metadata_path: str, past: PastRun, outcome: Outcome) -> Run:
    """What a report says of a run.

    Args:
      metadata_path: the ML Metadata database.
      past: the run.
      outcome: what it came to.
    """
    return report_facts.facts_of(
        results.of_run(RunArtifacts(metadata_path, past.executions)),
        outcome,
        began=past.shown_began,
        preset=str(settings(past, "Trainer").get("preset", "")),
        lineage=lineage_of(metadata_path, past),
        run_id=past.run_id,
        data=past.record.get("data", {}),
        steps=_steps(past),
    )


def settings(past: PastRun, component: str) -> dict[str, Any]:
    """What a component of a run was given, with the contents of packed settings beside the others."""
    executed = past.components.get(component)
    if executed is None:
        return {}
    given: dict[str, Any] = {}
    for name, value in executed.properties.items():
        if name != "custom_config":
            given[name] = value
            continue
        packed = json.loads(value)
        if set(packed) == {"custom_config"}:  # of an ExampleGen: a message that holds the fingerprint
            given[_CODE] = packed["custom_config"].get("value", "")
        else:
            given.update(packed)
    return given


def lineage_of(metadata_path: str, past: PastRun) -> dict[str, dict[str, str]]:
    """What made a run's model, by group: data, code, configuration, versions; for people and for comparing."""
    artifacts = RunArtifacts(metadata_path, past.executions)
    data = {
        f"SHA-256 of {name}": str(checksum)
        for name, checksum in past.record.get("data", {}).get("checksums", {}).items()
    }
    for component, what in (("RatingsExampleGen", "ratings"), ("TablesExampleGen", "tables")):
        artifact = artifacts.get(component, "examples")
        if artifact is not None and DIGEST_PROPERTY in artifact.custom_properties:
            data[f"digest of the {what} as read"] = artifact.custom_properties[DIGEST_PROPERTY].string_value
    code, configuration = {}, {}
    for component in past.components:
        for name, value in settings(past, component).items():
            if name == _CODE:
                code[component] = str(value)
            elif name == "input_base":
                data["folder"] = str(value)
            elif name != "input_fingerprint":  # of times and sizes
                configuration[f"{component} {name}"] = value if isinstance(value, str) else json.dumps(value)
    groups = {
        "Run": {"id": past.run_id, "began": past.shown_began},
        "Data": data,
        "Code": code,
        "Configuration": configuration,
        "Versions": {name: str(version) for name, version in past.record.get("releases", {}).items()},
    }
    return {name: values for name, values in groups.items() if values}


def _steps(past: PastRun) -> tuple[Step, ...]:
    """As the run's own clock had it, else by ML Metadata, which does not see the time before and after."""
    recorded = past.record.get("components")
    if recorded:
        return tuple(
            Step(component=name, state=each["state"], seconds=each["seconds"])
            for name, each in recorded.items()
            if each["state"] != "skipped"
        )
    return tuple(Step(component=name, state=each.state, seconds=each.seconds) for name, each in past.components.items())
