"""What a user can mend: the one class of errors that a command shows as a message, rather than as a trace."""


class UserError(ValueError):
    """What was given cannot be used, such as a flag, a setting or a file; the message says what to do about it.

    Pydantic takes it for a fault of the field that is being checked, as it does any ValueError.
    """
