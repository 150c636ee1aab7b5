"""The two sides of a case: a run with wheels, and the programs with which it is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import Usage, run

#: Measures one side once.
Side = Callable[[], Usage]

#: Measures a pair, given its number: what this plugin used, and what the other side did.
Pair = Callable[[int], tuple[Usage, Usage]]


@dataclass(frozen=True, kw_only=True)
class Ours:
    """A run with wheels.

    :param argv: begins with :data:`~materials.PYTEST`.
    :param statuses: exit statuses that are not errors.
    :param step: the first step of what is compared; empty for the whole run.
    :param runner: runs a program; without it, :func:`~measuring.run`.
    """

    argv: Sequence[str | Path]
    cwd: Path
    statuses: Iterable[int] = (0,)
    step: str = ""
    runner: Callable[[Sequence[str | Path]], Usage] | None = None

    def measure(self, argv: Sequence[str | Path] = ()) -> Usage:
        """Run it once.

        :param argv: another command line that does the same.
        """
        argv = argv or self.argv
        return self.runner(argv) if self.runner else run(argv, self.cwd, statuses=self.statuses)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two programs that are compared.

    :param title: what is measured.
    :param against: the other side.
    :param goal: the ratio of both that is wanted.
    :param ours: the run of this plugin, for a picture of its steps.
    :param pair: measures both.
    :param pairs: pairs to measure; 0 for the value of ``--pairs``.
    :param warm_up: fills the caches; ``None`` for a pair that is not counted.
    """

    title: str
    against: str
    goal: float
    ours: Ours
    pair: Pair
    pairs: int = 0
    warm_up: Callable[[], object] | None = None


def alternating(ours: Side, other: Side) -> Pair:
    """Measure one side after the other; the order changes with every pair."""

    def pair(number: int) -> tuple[Usage, Usage]:
        if number % 2:
            first = ours()
            return first, other()
        second = other()
        return ours(), second

    return pair


def program(
    *argvs: Sequence[str | Path], cwd: Path, env: dict[str, str] | None = None, envs: Sequence[dict[str, str]] = ()
) -> Side:
    """Return a function that runs programs one after the other, and returns the sum of what they used.

    :param envs: for each program, further variables.
    """
    each = list(envs) or [{}] * len(argvs)

    def measure() -> Usage:
        pairs = zip(argvs, each, strict=True)
        usages = [run(argv, cwd, env={**(env or {}), **more}) for argv, more in pairs]
        return Usage(seconds=sum(one.seconds for one in usages), processor=sum(one.processor or 0.0 for one in usages))

    return measure
