"""What a process in the image sees of its surroundings."""

from __future__ import annotations

import os
import pathlib


def image_environment(dockerfile: pathlib.Path) -> dict[str, str]:
    """The variables that the image sets, and those that any process has."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
    lines = dockerfile.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    pairs = [pair for line in lines if line.startswith("ENV ") for pair in line.removeprefix("ENV ").split()]
    return {**kept, **dict(pair.split("=", 1) for pair in pairs if not pair.startswith("PATH="))}
