"""Errors that callers may catch; exit codes and HTTP codes are mapped at the edge only."""


class SchedsearchError(Exception):
    """Base of every error that schedsearch raises on purpose."""


class InputError(SchedsearchError):
    """Something that the caller handed in cannot be used; the message names place and remedy."""


class ScheduleError(InputError):
    """A schedule, or a schedule file, is invalid or does not fit the model."""


class DataError(InputError):
    """A data set, a line of it or one of its images cannot be used."""


class UnsupportedError(InputError):
    """A model, or a way of calling it, that the reduction runtime cannot serve correctly."""


class RunError(SchedsearchError):
    """Work on valid input failed."""
