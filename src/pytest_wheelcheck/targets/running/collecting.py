"""Waits until a worker has collected the tests."""

from __future__ import annotations

from collections.abc import Callable

from pytest_wheelcheck.errors import WheelcheckError, WorkerError
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.targets.running.diagnosis import without_first_line
from pytest_wheelcheck.targets.timeouts import START_TIMEOUT
from pytest_wheelcheck.worker import messages as protocol
from pytest_wheelcheck.worker.messages import FromWorker


class CollectCrashError(WheelcheckError):
    """The worker ended, or did not answer, while it collected.

    :param module: the node id of the test module; empty if it was none.
    """

    def __init__(self, module: str, text: str) -> None:
        super().__init__(text)
        self.module = module


def await_collected(
    running: WorkerProcess,
    messages: list[FromWorker],
    timeout: float,
    factor: float,
    change: Callable[[str], None],
) -> protocol.Collected | protocol.Finished:
    """Wait for the result of a collection.

    :param messages: gets the other messages that arrive meanwhile.
    :param timeout: seconds for each module; 0 for no limit.
    :param factor: by which the target is slower.
    :param change: is called with the name of the step that begins.
    :raises CollectCrashError: there is none.
    """
    module = ""
    usual = (timeout or 1e9) * factor
    limit = usual + START_TIMEOUT * factor
    try:
        while True:
            message = running.receive(limit)
            if message is None:
                running.request_stacks()
                where = f"collecting {module}" if module else "loading pytest and the conftest files"
                raise CollectCrashError(module, f"{where} did not end within {limit:g} s\n{running.output()}")
            if message["type"] == "collecting":
                change("collection")
                module = message["id"]
                limit = usual if module else usual + START_TIMEOUT * factor
                running.mark(message["log_size"])
            elif message["type"] == "collected" or message["type"] == "finished":
                return message
            elif message["type"] != "hello":
                messages.append(message)
    except WorkerError as error:
        where = f"while {module} was collected" if module else "while pytest and the conftest files were loaded"
        raise CollectCrashError(module, f"{error.message}, {where}\n{without_first_line(str(error))}") from error
