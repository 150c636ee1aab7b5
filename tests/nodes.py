"""Parses the output of a run with wheels: outcomes by node."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

#: The fixtures ``run_wheels`` and ``run_dist``.
Run = Callable[..., pytest.RunResult]
RunDist = Callable[..., "RunOutput"]

#: The command of the running environment.
COMMAND = str(Path(sys.executable).with_name("wheelcheck.exe" if sys.platform == "win32" else "wheelcheck"))

_LINE = re.compile(r"(?P<id>\S.*?\.whl::.+?) (?P<outcome>PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutput:
    """The output of a run with ``-v``.

    :param code: the exit status.
    :param nodes: outcomes by the part of the node id behind the target; static checks are left out.
    :param text: all output.
    """

    code: int
    nodes: dict[str, str]
    text: str

    def outcomes(self, name: str) -> list[str]:
        """Return the outcomes of the nodes whose last part is *name*."""
        return [outcome for node, outcome in self.nodes.items() if node.rpartition("::")[2] == name]

    def only(self, outcome: str) -> list[str]:
        """Return the names of the nodes with an outcome, sorted."""
        return sorted(name for name, found in self.nodes.items() if found == outcome)


def run_output(result: pytest.RunResult) -> RunOutput:
    """Parse the output of a run with ``-v``."""
    return parse_output(int(result.ret), result.stdout.str(), result.stderr.str())


def parse_output(code: int, out: str, err: str = "") -> RunOutput:
    """Parse the output of a run with ``-v``."""
    nodes: dict[str, str] = {}
    for line in out.splitlines():
        match = _LINE.match(line)
        if match is not None:
            name = match["id"].partition(".whl::")[2].partition("::")[2]
            if name:
                # A test that passed with a failed teardown has two lines.
                assert nodes.get(name, "PASSED") == "PASSED", line
                nodes[name] = match["outcome"]
    return RunOutput(code=code, nodes=nodes, text=out + err)


def outcomes(junit: Path) -> dict[str, list[str]]:
    """Return the results of each test in a JUnit file, with the first line of their messages."""
    found = {}
    for case in ET.parse(junit).iter("testcase"):
        results = [
            f"{child.tag} {child.get('type')} {(child.get('message') or '').splitlines()[:1]}"
            for child in case
            if child.tag in {"failure", "error", "skipped", "rerun"}
        ]
        pairs = [(entry.get("name"), entry.get("value")) for entry in case.iter("property")]
        properties = [f"{name}={value}" for name, value in pairs if name != "import_seconds"]
        found[f"{case.get('classname')}::{case.get('name')}"] = [*results, *properties]
    return found
