"""Ctrl-C and SIGTERM while something must not be interrupted.

Signal handlers belong to the process, and only the main thread can set them and runs them. In other threads the functions
here do nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_INTERRUPTING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Ignore the signals, for example while a finished run removes its files. They could only leave some of them behind."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _INTERRUPTING:
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            # None means that the handler was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Handle the signals after the context.

    Only handlers that were set from Python are deferred. So a program that is started in the context inherits what it would
    inherit outside of it: blocking the signals would block them in the program, too.
    """
    received: list[int] = []
    handlers = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in _INTERRUPTING:
                handler = signal.getsignal(number)
                if callable(handler):
                    handlers[number] = handler
                    signal.signal(number, lambda number, _: received.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received_number in received:
            signal.raise_signal(received_number)


def interrupt_on_sigterm() -> bool:
    """Make SIGTERM end the run as Ctrl-C does: with a summary of the known outcomes, and without leftovers.

    :returns: whether the handler was set; not if the program that runs pytest has one of its own.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _interrupt)
    return True


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise KeyboardInterrupt(signal.Signals(number).name)
