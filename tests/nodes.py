"""Reading what a run of wheels said: outcomes by node."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

#: The fixtures ``run_wheels`` and ``tell``.
Run = Callable[..., pytest.RunResult]
Tell = Callable[..., "Seen"]

#: The command of the running environment.
COMMAND = str(Path(sys.executable).with_name("wheelcheck.exe" if sys.platform == "win32" else "wheelcheck"))

_LINE = re.compile(r"(?P<id>\S.*?\.whl::.+?) (?P<outcome>PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a run with ``-v`` said.

    :param nodes: outcomes by what stands in the node id behind the target; checks of the file itself are left out.
    :param text: all that was printed.
    """

    code: int
    nodes: dict[str, str]
    text: str

    def only(self, outcome: str) -> list[str]:
        """Name the nodes with an outcome, sorted."""
        return sorted(name for name, found in self.nodes.items() if found == outcome)


def seen(result: pytest.RunResult) -> Seen:
    """Read the lines of a run with ``-v``."""
    return read(int(result.ret), result.stdout.str(), result.stderr.str())


def read(code: int, out: str, err: str = "") -> Seen:
    """Read what a run with ``-v`` said."""
    nodes: dict[str, str] = {}
    for line in out.splitlines():
        match = _LINE.match(line)
        if match is not None:
            name = match["id"].partition(".whl::")[2].partition("::")[2]
            if name:
                # Told twice where the test passed and its teardown did not.
                assert nodes.get(name, "PASSED") == "PASSED", line
                nodes[name] = match["outcome"]
    return Seen(code=code, nodes=nodes, text=out + err)


def outcomes(junit: Path) -> dict[str, list[str]]:
    """Read what a junit file says of each test: kinds of its results, with the first line of their messages."""
    found = {}
    for case in ET.parse(junit).iter("testcase"):
        results = [
            f"{child.tag} {child.get('type')} {(child.get('message') or '').splitlines()[:1]}"
            for child in case
            if child.tag in {"failure", "error", "skipped", "rerun"}
        ]
        pairs = [(one.get("name"), one.get("value")) for one in case.iter("property")]
        properties = [f"{name}={value}" for name, value in pairs if name != "import_seconds"]
        found[f"{case.get('classname')}::{case.get('name')}"] = [*results, *properties]
    return found
