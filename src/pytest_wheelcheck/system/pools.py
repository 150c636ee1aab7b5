"""Calls in pools of threads, and waits for them so that the main thread stays able to handle Ctrl-C, which ends them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from pytest_wheelcheck.system import process, progress
from pytest_wheelcheck.system.process import HEARTBEAT

#: The return type of a function that :func:`map_concurrently` calls.
Result = TypeVar("Result")


@contextlib.contextmanager
def threads(number: int, name: str) -> Iterator[Executor]:
    """Provide a pool of threads. Ctrl-C ends the programs that they wait for, instead of waiting for these.

    :param number: of threads.
    :param name: of the threads, without the number of each.
    """
    with ThreadPoolExecutor(max_workers=number, thread_name_prefix=f"wheelcheck-{name}") as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            progress.log.info("interrupted: ending what is in progress")
            abandon(pool)
            raise


def abandon(pool: Executor) -> None:
    """End the programs that the threads of a pool wait for, and do not wait for the threads."""
    process.stop_all()
    pool.shutdown(wait=False, cancel_futures=True)


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
