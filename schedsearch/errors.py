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


class MemoryShortError(RunError):
    """Something does not fit into the memory of this process, and may fit elsewhere."""


class DeviceError(RunError):
    """A device is of no more use to this process; that says nothing about what was asked of it."""

    @classmethod
    def of(cls, said: str) -> "DeviceError":
        """The error for what a device's software said."""
        return cls(
            f"the device has failed ({said}); what was stored before is safe: see to the device, "
            "and run again to continue"
        )

    @property
    def found(self) -> str:
        """What has happened, without the remedy."""
        return str(self).partition("; what was stored before")[0]
