"""Calls in pools of threads, and waits for them so that the main thread stays able to handle Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from typing import Any, TypeVar

from pytest_wheelcheck.system.process import HEARTBEAT

#: The return type of a function that :func:`map_concurrently` calls.
Result = TypeVar("Result")


def map_concurrently(pool: Executor, function: Callable[..., Result], *iterables: Iterable[object]) -> list[Result]:
    """Call *function* in *pool* as :meth:`concurrent.futures.Executor.map` does; see :func:`wait_for`."""
    futures = [pool.submit(function, *arguments) for arguments in zip(*iterables, strict=True)]
    wait_for(futures)
    return [future.result() for future in futures]


def wait_for(futures: Collection[Future[Any]]) -> None:
    """Wait until all are done or one has raised an exception, which is raised, and stay able to handle Ctrl-C.

    A thread that waits without a timeout is not able to: the signal may arrive just before it waits, or in another
    thread, and nothing wakes it afterwards.
    """
    pending = futures
    while pending:
        done, pending = wait(pending, timeout=HEARTBEAT, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
