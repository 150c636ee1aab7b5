"""Whose fault a failed test is."""

from __future__ import annotations

import time

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.targets.running.item_results import Crash, ItemResult, complete_reports
from pytest_wheelcheck.worker.messages import FromWorker


def diagnosed(messages: list[FromWorker], running: WorkerProcess, session: Session) -> list[FromWorker]:
    """Turn a failed test that is not the wheel's fault into an error: pytest reports a failure in setup as an error.

    :param messages: of one test.
    :param running: its output is everything that was written past pytest's capturing while the test ran.
    """
    for message in messages:
        if message["type"] != "report" or message["data"].get("outcome") != "failed":
            continue
        data = message["data"]
        texts = (running.output(), *(text for _, text in data.get("sections", ())))
        explanation = next(filter(None, map(session.explain_failure, texts)), "")
        if explanation:
            changed = {**data, "when": "setup", "longrepr": explanation}
            others = [each for each in messages if each["type"] != "report"]
            return [*others, {**message, "data": changed}]
    return messages


def without_first_line(text: str) -> str:
    """Return a text without its first line."""
    return text.partition("\n")[2]


def usage_text(output: str, status: int) -> str:
    """Return why pytest ended before it collected.

    :param output: what it wrote.
    """
    text = output.strip()
    return text or f"the target's pytest ended with exit status {status} without output"


def ended_result(
    messages: list[FromWorker], text: str, output: str, start: float, *, lost: bool, session: Session
) -> ItemResult:
    """Return the result of a test that ended its worker.

    :param messages: what the worker sent of the test.
    :param text: how the worker ended.
    :param output: what it wrote to its log.
    :param start: when the test began, by the monotonic clock.
    :param lost: the reports of its first phases may be lost.
    """
    complete_reports(messages)
    phases = [message["data"].get("when") for message in messages if message["type"] == "report"]
    when = "setup" if "setup" not in phases and not lost else "call" if "call" not in phases else "teardown"
    shown = session.program_output(output)
    sections = (("Output of the interpreter", shown),) if shown.strip() else ()
    if explanation := session.explain_failure(output):
        # An error and not a failure: nothing is known to be wrong with the wheel.
        when, text = "setup", explanation
        messages = [message for message in messages if message["type"] != "report"]
    if "SIGILL" in text:
        known = session.explain_illegal_instruction(output)
        text = f"{text.partition(chr(10))[0]}\n{known}" if known else text
    crash = Crash(when=when, text=text, seconds=time.monotonic() - start, sections=sections)
    return ItemResult(messages=tuple(messages), crash=crash)
