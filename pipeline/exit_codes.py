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
    BUSY = 15
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.PUSHED: "the model was pushed",
    ExitCode.FAILED: "a component failed; its log says why",
    ExitCode.BAD_INPUT: "bad input: a flag, a configuration value, a data file or a row in it",
    ExitCode.ANOMALIES: "the data does not fit the schema; nothing was trained",
    ExitCode.NOT_BLESSED: "the model was not blessed: its RMSE is over the bound, or it is no better than the baseline,"
    " or worse than the blessed model, or recommends worse, or there are too few test ratings to tell",
    ExitCode.NOT_SERVABLE: "the exported model could not be loaded and queried",
    ExitCode.STOPPED_EARLY: "the run ended before Pusher, as --to asked",
    ExitCode.BUSY: "another command works on the output folder",
    ExitCode.INTERRUPTED: "interrupted; the same command resumes",
}


# Of `movie-ranking clean`.
CLEAN_MEANINGS = {
    0: "it was removed, or nothing was to be removed",
    ExitCode.FAILED: "something could not be removed; the same command goes on",
    ExitCode.BAD_INPUT: "bad input: a flag, a folder in which nothing has run, or a damaged record",
    ExitCode.BUSY: MEANINGS[ExitCode.BUSY],
    ExitCode.INTERRUPTED: MEANINGS[ExitCode.INTERRUPTED],
}


class ServiceCode(enum.IntEnum):
    """Exit codes that `movie-ranking submit` adds: what became of a job or a request on a cluster."""

    NO_CREDENTIALS = 7
    NOT_PERMITTED = 8
    OVER_QUOTA = 9
    REFUSED = 10
    UNREACHABLE = 11
    CANCELLED = 12
    TIMED_OUT = 13
    PUSH_UNKNOWN = 14


# Meanings for `movie-ranking submit`, which may wait for a run and end as it does.
SUBMIT_MEANINGS: dict[ExitCode | ServiceCode, str] = {
    ExitCode.PUSHED: "the job was accepted; with --wait, the model was pushed",
    ExitCode.FAILED: "with --wait: a task failed",
    ExitCode.BAD_INPUT: "bad input: a flag, a parameter or the compiled job",
    ExitCode.ANOMALIES: "with --wait: the data does not fit the schema; nothing was trained",
    ExitCode.NOT_BLESSED: "with --wait: the model was not blessed",
    ExitCode.NOT_SERVABLE: "with --wait: the exported model could not be loaded and queried",
    ServiceCode.NO_CREDENTIALS: "no credentials, or ones that do not hold",
    ServiceCode.NOT_PERMITTED: "the credentials do not permit it",
    ServiceCode.OVER_QUOTA: "a quota of the project is used up",
    ServiceCode.REFUSED: "the service refused it: bucket, image, name, parameter or schedule",
    ServiceCode.UNREACHABLE: "the service could not be reached",
    ServiceCode.CANCELLED: "with --wait: the job was cancelled",
    ServiceCode.TIMED_OUT: "with --wait: --timeout passed; the job goes on",
    ServiceCode.PUSH_UNKNOWN: "with --wait: the job succeeded; the service does not tell whether a model was pushed",
    ExitCode.INTERRUPTED: "interrupted while waiting; the job goes on",
}
