"""Whose fault a failed test is."""

from __future__ import annotations

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.targets.running.channel import WorkerProcess
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
