"""Why a component of ours stops a run on purpose."""


class AnomaliesError(Exception):
    """The data does not fit the schema; nothing was trained."""
