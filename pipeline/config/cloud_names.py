"""What Google Cloud calls projects and regions: names that no shell reads as anything else."""

from __future__ import annotations

# The name of a project, perhaps within a domain, or its number.
PROJECT = r"^([a-z0-9][a-z0-9.-]*:)?[a-z0-9][a-z0-9-]*$"
REGION = r"^[a-z][a-z0-9-]*$"
