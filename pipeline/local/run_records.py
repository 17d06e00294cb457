"""What is recorded of a run in ML Metadata beside its executions: how it ended, on which data and with which releases.

It lies in a property of the run's context, so that a report can be made again from ML Metadata and the artifacts alone.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from typing import Any

import ml_metadata
from tfx.orchestration import metadata

from data.errors import DataError
from data.licences import licence_of
from data.rejects import REJECTED_FILE, Rejected
from data.sidecar import Sidecar
from data.summary import reasons_of

RUN_TYPE = "pipeline_run"
_PROPERTY = "run_record"


def write(metadata_path: str, run_id: str, record: Mapping[str, Any]) -> bool:
    """Keeps the record of a run, if ML Metadata knows it; one whose first driver failed it does not.

    Args:
      metadata_path: the ML Metadata database.
      run_id: of the run.
      record: plain JSON.

    Returns:
      Whether it does.
    """
    store = ml_metadata.MetadataStore(metadata.sqlite_metadata_connection_config(metadata_path))
    context = store.get_context_by_type_and_name(RUN_TYPE, run_id)
    if context is None:
        return False
    context.custom_properties[_PROPERTY].string_value = json.dumps(record)
    store.put_contexts([context])
    return True


def of_context(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The record among the custom properties of a run's context; empty where the run did not come to its end."""
    return json.loads(properties[_PROPERTY].string_value) if _PROPERTY in properties else {}


def data_record(root: str) -> dict[str, Any]:
    """What the record of a data folder says: source, licence, columns, checksums, and what was left out and why.

    Empty of a folder without a record, or on another machine.
    """
    try:
        sidecar = Sidecar.read(root)
    except DataError:
        return {}
    return {
        "source": sidecar.source,
        "licence": licence_of(sidecar.source),
        "columns": list(sidecar.side_columns),
        "checksums": sidecar.checksums,
        "rejected": sidecar.rejected if sidecar.files else None,
        "reasons": _reasons(os.path.join(root, REJECTED_FILE)),
    }


def _reasons(path: str) -> dict[str, int]:
    """Rows left out by what was expected of them: what came instead may name a user."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        # A row of a text may be longer than the limit of this reader, but no longer than what `Rejects` writes.
        rows = [
            Rejected(file=cells[0], line=int(cells[1]), reason=cells[2], raw="") for cells in list(csv.reader(file))[1:]
        ]
    return {expected: reason.rows for expected, reason in reasons_of(rows).items()}
