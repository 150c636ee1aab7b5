"""Where pytest-xdist owns the loop: whose turn it is among the targets, and which of them have a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_wheelcheck.plugin.nodes import RemoteItem

if TYPE_CHECKING:
    from pytest_wheelcheck.targets.running.item_results import Crash
    from pytest_wheelcheck.targets.running.run import TargetRun
    from pytest_wheelcheck.targets.running.window import Window


class Turns:
    """The targets of one of xdist's workers. Its tests come in their order, except for those that it takes over from others.

    :param most: targets that may have a live worker.
    :param finish: ends the session of a target; returns a crash if that went wrong.

    Attribute ``crash``: the first of those.
    """

    def __init__(self, most: int, finish: Callable[[TargetRun], Crash | None]) -> None:
        self.crash: Crash | None = None
        self._most = most
        self._finish = finish
        self._window: Window | None = None
        self._current: TargetRun | None = None

    def begin(self, item: RemoteItem) -> None:
        """Prepare for a test: if there are many targets, end the workers of those that are not next, and start the next ones."""
        run = item.target_run
        if run is self._current:
            return
        self._current = run
        if self._window is None:
            from pytest_wheelcheck.targets.running.window import Window

            runs = dict.fromkeys(each.target_run for each in item.session.items if isinstance(each, RemoteItem))
            self._window = Window(list(runs), self._most - 1)
        for other in self._window.others(run):
            self.crash = self._finish(other) or self.crash
        self._window.boot_next(run)
