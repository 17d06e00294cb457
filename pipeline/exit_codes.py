"""What the exit code of a run says."""

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of `movie-ranking run`; 0 only when a model was pushed."""

    PUSHED = 0
    FAILED = 1
    BAD_INPUT = 2
    ANOMALIES = 3
    NOT_BLESSED = 4
    NOT_SERVABLE = 5
    STOPPED_EARLY = 6
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.PUSHED: "the model was pushed",
    ExitCode.FAILED: "a component failed; its log says why",
    ExitCode.BAD_INPUT: "bad input: a flag, a configuration value, a data file or a row in it",
    ExitCode.ANOMALIES: "the data does not fit the schema; nothing was trained",
    ExitCode.NOT_BLESSED: "the model was not blessed: its RMSE is over the bound or worse than the blessed model's",
    ExitCode.NOT_SERVABLE: "the exported model could not be loaded and queried",
    ExitCode.STOPPED_EARLY: "the run ended before Pusher, as --to asked",
    ExitCode.INTERRUPTED: "interrupted; the same command resumes",
}
