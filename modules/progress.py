"""Progress of long work: a logger that a runner may show live and that otherwise ends in the log."""

from __future__ import annotations

import logging

LOGGER_NAME = "movie_ranking.progress"


def report(text: str) -> None:
    """Tells how far the work is, in a few words."""
    logging.getLogger(LOGGER_NAME).info(text)
