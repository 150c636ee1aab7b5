"""Which targets have a live worker: those whose tests run, and the next ones.

A worker is started for each target when its tests are collected, and each takes memory until its turn. So a run with many
targets ends the workers of the later ones after the collection, and starts them again ahead of their turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_wheelcheck.system import memory
from pytest_wheelcheck.targets.running.run import TargetRun
from pytest_wheelcheck.targets.target import Target


def lives_on(targets: Sequence[Target], number: int, most: int, lanes: int) -> bool:
    """Return whether the worker of a target waits for its turn after the collection.

    :param targets: of the run, in the order of their tests.
    :param number: of the target.
    :param most: workers of one place (the host, a board) that may live after the collection.
    :param lanes: targets whose tests run in parallel.
    """
    place = targets[number].runtime.backend.place
    before = sum(target.runtime.backend.place == place for target in targets[:number])
    return before < lanes or (before < most and not memory.is_scarce())


class Window:
    """The targets of one place, in the order of their tests, and those of them that are next.

    :param waiting: number of workers that wait for their turn.
    """

    def __init__(self, runs: Sequence[TargetRun], waiting: int) -> None:
        self._runs = runs
        self._waiting = waiting

    def boot_next(self, current: TargetRun) -> None:
        """Start the workers of the targets after *current* that have none."""
        for run in self._next(current):
            if memory.is_scarce():
                return
            run.boot_again()

    def _next(self, current: TargetRun) -> Sequence[TargetRun]:
        position = self._runs.index(current) + 1
        return self._runs[position : position + self._waiting]

    def others(self, current: TargetRun) -> list[TargetRun]:
        """Return the targets that are neither *current* nor next, if there are more than may have a worker."""
        near = (current, *self._next(current))
        return [run for run in self._runs if run not in near] if len(self._runs) > self._waiting + 1 else []
