"""What a run has to tell beside its verdict: a logger whose lines a runner shows at the end."""

from __future__ import annotations

import logging

LOGGER_NAME = "movie_ranking.notes"


def note(text: str) -> None:
    """Tells something that whoever started the run wants to know, in one line."""
    logging.getLogger(LOGGER_NAME).warning(text)
