"""Why a component of ours stops a run on purpose."""


class AnomaliesError(Exception):
    """The data does not fit the schema; nothing was trained."""


class EvidenceError(ValueError):
    """There is no rating to judge a model by; nothing is blessed."""


class ProbeError(Exception):
    """The process that probes a model gave no answer, which is no verdict on the model: try again."""


class IntegrityError(Exception):
    """A model's files are not, or are no longer, those that were judged; they are not pushed."""
