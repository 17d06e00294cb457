"""With which releases a run computes."""

from __future__ import annotations

import importlib.metadata
import platform

# Those that may change what a run comes to.
DISTRIBUTIONS = (
    "movie-ranking",
    "tensorflow",
    "tfx",
    "tensorflow-transform",
    "tensorflow-recommenders",
    "tf-keras",
    "apache-beam",
    "ml-metadata",
    "numpy",
    "pyarrow",
)


def releases() -> dict[str, str]:
    """The Python that runs this, and the releases of what it computes with."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # as of this project itself, run from its folder
            continue
    return found
