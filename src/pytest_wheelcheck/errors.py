"""What can go wrong, told to a person.

Every error has three parts: what happened, the likely cause, and what to do next. A face of the program (the pytest
plugin or the ``wheelcheck`` command) prints :func:`str` of it and nothing else.
"""

from __future__ import annotations


class WheelcheckError(Exception):
    """Base of every error that this package raises on purpose.

    :param what: what happened, one sentence.
    :param cause: the likely cause; empty where *what* already tells it.
    :param advice: what to do next; empty where nothing can be done.
    :param details: other programs' own words (an installer's, a loader's), shown below, unchanged.
    """

    def __init__(self, what: str, *, cause: str = "", advice: str = "", details: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.advice = advice
        self.details = details

    def __str__(self) -> str:
        lines = [self.what]
        if self.cause:
            lines.append(f"likely cause: {self.cause}")
        if self.advice:
            lines.append(f"what to do: {self.advice}")
        if self.details.strip():
            lines.append(self.details.rstrip())
        return "\n".join(lines)


class UsageError(WheelcheckError):
    """The invocation itself is wrong: an option, a path, an ini value. pytest exits with 4."""


class WheelError(WheelcheckError):
    """A file is not a wheel that may be opened: damaged, hostile, or wrongly named."""


class ProcessError(WheelcheckError):
    """A program could not be started, failed, or outlived its deadline."""


class RuntimeUnavailableError(WheelcheckError):
    """An interpreter that should be had could not be provided, or does not work."""


class InstallError(WheelcheckError):
    """The wheel, its dependencies or the test tools could not be installed."""


class WorkerError(WheelcheckError):
    """The worker in the target died, went silent, or spoke nonsense."""


class WorkerFatalError(WorkerError):
    """The worker in the target said that it cannot go on."""
