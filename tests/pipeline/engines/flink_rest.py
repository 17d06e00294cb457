"""What a standalone Flink says of its jobs over its REST API."""

from __future__ import annotations

import collections
import json
import urllib.request
from collections.abc import Mapping
from typing import Any


class FlinkRest:
    """The REST API of a job manager at an address, HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._address = address

    def jobs(self) -> list[Mapping[str, Any]]:
        """All jobs, in the order in which they were submitted, with name, state and numbers of tasks."""
        return sorted(self._get("/jobs/overview")["jobs"], key=lambda job: job["start-time"])

    def job(self, job_id: str) -> Mapping[str, Any]:
        """A job, with the times at which it came to its states, and its vertices."""
        return self._get(f"/jobs/{job_id}")

    def running_tasks(self, job_id: str) -> collections.Counter[str]:
        """How many tasks of a job run on each task manager, by their resource ids."""
        tasks: collections.Counter[str] = collections.Counter()
        for vertex in self.job(job_id)["vertices"]:
            if vertex["tasks"]["RUNNING"]:
                for manager in self._get(f"/jobs/{job_id}/vertices/{vertex['id']}/taskmanagers")["taskmanagers"]:
                    tasks[manager["taskmanager-id"]] += manager["status-counts"]["RUNNING"]
        return tasks

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self._address}{path}", timeout=60) as response:
            return json.load(response)
