"""Errors outside of all nodes, while a run is described, reported or ended: unexpected exceptions, and files not written."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import StepResult, unexpected

#: Exceptions with which pytest's hooks end a run on purpose.
_INTENDED = (pytest.UsageError, pytest.exit.Exception, pytest.Session.Failed)


class UnexpectedErrors:
    """Collects exceptions that this package did not expect, and other errors that do not end a run.

    They are shown at the end, and fail the run.
    """

    def __init__(self) -> None:
        self._errors: list[StepResult] = []
        self._session: pytest.Session | None = None

    @contextlib.contextmanager
    def caught(self, action: str) -> Iterator[None]:
        """Catch and record an unexpected exception.

        :param action: what fails then, such as ``writing the report``.
        """
        try:
            yield
        except _INTENDED:
            raise
        except Exception as error:  # noqa: BLE001 - a bug must not hide the outcomes of a run
            self._errors.append(unexpected(action, error))
            self._fail()

    def add(self, action: str, text: str) -> None:
        """Record an error that must not hide the outcomes of a run: a file cannot be written.

        :param action: what has failed.
        :param text: why, with the fix.
        """
        self._errors.append(StepResult(name=action, outcome=Outcome.ERROR, text=text))
        self._fail()

    def finish(self, session: pytest.Session) -> None:
        """Fail the session if there were errors. Those that follow fail it at once."""
        self._session = session
        self._fail()

    def send(self) -> list[dict[str, Any]]:
        """Return the errors as plain values, for the controller of xdist."""
        return [error.to_json() for error in self._errors]

    def receive(self, errors: list[dict[str, Any]]) -> None:
        """Take over the errors of a worker of xdist."""
        self._errors += map(StepResult.from_json, errors)
        self._fail()

    def _fail(self) -> None:
        if self._errors and self._session is not None and self._session.exitstatus == pytest.ExitCode.OK:
            self._session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Show the errors that were not shown yet; the tracebacks with ``-vv``."""
        for error in self._errors:
            reporter.write_line(f"{error.name}: {error.text}", red=True)
            if reporter.verbosity >= 2 and error.traceback:
                reporter.write_line(error.traceback)
        self._errors.clear()


@contextlib.contextmanager
def interrupt_shown() -> Iterator[None]:
    """Say that the run was interrupted before the terminal reporter would say so."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted while the run was planned: nothing was tested\n")
        raise
