"""Collects the tests of a target while its wheel is imported: both take about as long, and hosts have several processors."""

from __future__ import annotations

import threading
from pathlib import Path

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.preparing.preparation import Preparation
from pytest_wheelcheck.targets.running.item_results import Collected
from pytest_wheelcheck.targets.running.run import TargetRun
from pytest_wheelcheck.targets.target import Target


class CollectionAhead:
    """A collection that begins before the import check has ended.

    It is used if the import check found nothing that tests refer to, and if the collection itself had no problem: it may have
    timed out because the imports needed the processor. Otherwise the tests are collected again, after the import check.

    :param directory: the target's own.
    :param session: the target's session.
    :param token: see :class:`.run.TargetRun`.
    """

    def __init__(self, target: Target, settings: Settings, directory: Path, session: Session, *, token: str) -> None:
        self._target = target
        self._settings = settings
        self._directory = directory
        self._session = session
        self._token = token
        self._run: TargetRun | None = None
        self._problem = ""
        self._collected: Collected | None = None
        self._thread: threading.Thread | None = None

    def boot(self, prepared: Preparation) -> None:
        """Start an interpreter.

        :param prepared: what is known of it. Neither the guard nor the test tools are installed yet.
        """
        self._run = TargetRun(
            self._target, prepared, self._settings, self._directory, self._session, token=self._token, guarded=False
        )
        try:
            self._run.boot()
        except (OSError, WheelcheckError):
            # The import check meets it as well, and reports it.
            self.drop()

    def begin(self) -> None:
        """Begin to collect, in the background, with the interpreter that was started."""
        if self._run is None:
            return
        self._thread = threading.Thread(target=self._collect, args=(self._run,), name="wheelcheck-ahead", daemon=True)
        self._thread.start()

    def _collect(self, run: TargetRun) -> None:
        try:
            self._collected = run.collect()
        except Exception:  # noqa: BLE001  the second collection meets it as well, and reports it
            self._collected = None

    def drop(self) -> None:
        """End the collection, if there is one."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()
        if self._thread is not None:
            self._thread.join()

    def take(self, prepared: Preparation) -> tuple[TargetRun, Collected] | None:
        """Wait for the collection; return its run and its result, or ``None`` if there is none that counts.

        :param prepared: the complete result of the preparation.
        """
        run = self._run
        if run is None or self._thread is None:
            return None
        self._thread.join()
        collected = self._collected
        if collected is None or _failed(collected):
            self._problem = "" if collected is None else _failed(collected)
            self.drop()
            return None
        run.go_on(prepared)
        return run, collected

    def note(self, again: Collected) -> str:
        """Return a line for the user if only the second collection had no problem; empty otherwise.

        :param again: the result of the second collection.
        """
        if not self._problem or _failed(again):
            return ""
        return (
            f"{self._target.node_id}: collecting the tests failed while the wheel was imported, and succeeded when it was "
            f"repeated: {self._problem}"
        )


def _failed(collected: Collected) -> str:
    """Return the problem of a collection in one line; empty if it had none."""
    failures = [failure.text for failure in collected.failures]
    reports = [str(report.get("nodeid", "")) for report in collected.reports if report.get("outcome") == "failed"]
    text = next(filter(None, (*failures, collected.usage, *reports)), "")
    return text.strip().partition("\n")[0]
