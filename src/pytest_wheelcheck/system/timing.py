"""Records when the steps of a run began and ended, for the reports.

There is one recorder in a process, as there is one run. Several threads record at the same time. The times are those of
:func:`time.monotonic`, which is the same clock in all processes of a host.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

#: Every step that is recorded, in the order in which they usually begin.
STEPS = (
    "plan",
    "checks",
    "interpreter",
    "environment",
    "install",
    "imports",
    "executables",
    "tools",
    "boot",
    "collection",
    "tests",
    "end",
)


@dataclass(frozen=True, slots=True)
class Span:
    """One step, from its begin to its end.

    :param owner: what it was done for: the node id of a wheel or target, or an interpreter's installation.
    """

    owner: Hashable
    name: str
    start: float
    end: float


class _Recorder:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._joined: dict[tuple[Hashable, str], Span] = {}
        self._open: dict[int, tuple[Hashable, str, float]] = {}
        self._number = 0

    def clear(self) -> None:
        with self._lock:
            self._spans.clear()
            self._joined.clear()

    def add(self, span: Span, *, joined: bool) -> None:
        with self._lock:
            if not joined:
                self._spans.append(span)
                return
            key = span.owner, span.name
            before = self._joined.get(key)
            self._joined[key] = span if before is None else Span(*key, before.start, span.end)

    def open(self, owner: Hashable, name: str, start: float) -> int:
        with self._lock:
            self._number += 1
            self._open[self._number] = owner, name, start
            return self._number

    def close(self, number: int) -> None:
        with self._lock:
            del self._open[number]

    def unfinished(self) -> list[tuple[Hashable, str, float]]:
        with self._lock:
            return list(self._open.values())

    def spans(self) -> list[Span]:
        with self._lock:
            return [*self._spans, *self._joined.values()]


_recorder = _Recorder()


def begin() -> float:
    """Forget everything that was recorded, and return the time."""
    _recorder.clear()
    return time.monotonic()


def recorded() -> list[Span]:
    """Return what was recorded in this process."""
    return _recorder.spans()


@contextlib.contextmanager
def step(owner: Hashable, name: str, *, joined: bool = False) -> Iterator[None]:
    """Record the body of the context.

    :param joined: all such steps of one owner are one, from the begin of the first to the end of the last.
    """
    start = time.monotonic()
    number = _recorder.open(owner, name, start)
    try:
        yield
    finally:
        _recorder.close(number)
        _recorder.add(Span(owner, name, start, time.monotonic()), joined=joined)


def unfinished() -> list[tuple[Hashable, str, float]]:
    """Return what :func:`step` records now: the owner and the name of each step, and the seconds since it began."""
    now = time.monotonic()
    return [(owner, name, now - start) for owner, name, start in _recorder.unfinished()]


def add(owner: Hashable, name: str, start: float) -> None:
    """Record a step that ends now.

    :param start: when it began.
    """
    _recorder.add(Span(owner, name, start, time.monotonic()), joined=False)


@contextlib.contextmanager
def steps(owner: Hashable, first: str) -> Iterator[Callable[[str], None]]:
    """Record steps that follow one another in the body of the context.

    :returns: a function that begins the step with a name, if it is not the one that lasts.
    """
    name, start = first, time.monotonic()

    def change(following: str) -> None:
        nonlocal name, start
        if following != name:
            add(owner, name, start)
            name, start = following, time.monotonic()

    try:
        yield change
    finally:
        add(owner, name, start)
