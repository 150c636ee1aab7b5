"""The command that runs one node of a report again."""

from __future__ import annotations

import shlex

from pytest_wheelcheck.reporting.report import Report, TargetReport, WheelReport
from pytest_wheelcheck.results import THREADS

#: Characters of a node id above which there is no command.
_MAX_NAME = 500


def command(report: Report, wheel: WheelReport, target: TargetReport | None, name: str) -> str:
    """Return the command for a POSIX shell; empty if there is none that is safe to paste.

    :param target: of the node; ``None`` for a node of the wheel itself.
    :param name: of the node, as in the report.
    """
    # The threads of the tests are known when these have run.
    names = (wheel.path, target.name if target else "", "" if target and name == THREADS else name)
    node_id = "::".join(filter(None, names))
    # A control character has an effect in the terminal where a command is pasted, also inside of quotes.
    if len(node_id) > _MAX_NAME or not node_id.isprintable():
        return ""
    words = ["pytest", "--wheel", node_id]
    if target is not None:
        words += ["--wheel-python", target.interpreter]
        _, plus, machine = target.name.partition("+")
        if plus:
            words += ["--wheel-host" if target.execution == "board" else "--wheel-machine", machine]
    return shlex.join([*words, *report.options])
