"""Errors that are meant for people: shown as one message, without a traceback."""


class UsageError(ValueError):
    """The request itself is wrong (a key, a value, a file that does not exist). Exit code 2."""

    exit_code = 2


class RunError(RuntimeError):
    """A sound request could not be carried out (unreadable data, a diverged run). Exit code 1."""

    exit_code = 1
