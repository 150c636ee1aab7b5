"""Runs the parsers of other projects in a process that may die.

A malformed file can make pyelftools, macholib, pefile and auditwheel raise, loop or use all memory, and auditwheel
changes the working directory. So :mod:`~pytest_wheelcheck.checks.parser_process` runs as a program: with a deadline, a
memory limit, and a working directory of its own. It writes its answer to a JSON file at the very end. If anything goes
wrong before that, there is no file, which is an error of the check and never a pass.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from pytest_wheelcheck.checks.delocation import DelocatedFile
from pytest_wheelcheck.checks.policies import Policy, PolicyAnalysis, libc_and_architecture
from pytest_wheelcheck.errors import ProcessError, WheelcheckError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.system import process
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.container import Member

#: Seconds that a parser may take for any wheel, and for each MiB of it in addition.
DEADLINE, DEADLINE_PER_MIB = 60.0, 3.0
#: Files with these endings are never native, and are not read by the parsers.
_TEXT_ENDINGS = (
    *(".py", ".pyi", ".pyc", ".pyx", ".pxd", ".c", ".cpp", ".h", ".hpp", ".hxx", ".cuh"),
    *(".txt", ".md", ".rst", ".json", ".html", ".css", ".js", ".svg", ".xml"),
)
#: Exit status of the parser process if a library that it needs is not installed.
NOT_INSTALLED = 3


class ImpossibleHereError(WheelcheckError):
    """A check that this host cannot run by nature, or that needs an optional dependency."""


def may_be_native(member: Member) -> bool:
    """Whether :func:`read_binaries` reads a member."""
    return member.size >= 16 and not member.name.endswith(_TEXT_ENDINGS)


def read_binaries(path: Path) -> tuple[tuple[Binary, ...], dict[str, bytes]]:
    """Read all native files of a wheel in a parser process.

    :returns: one value for each slice; and the sha256 of each file that could be unpacked completely, by its name.
    :raises ProcessError: the parser died or exceeded its deadline.
    """
    items, digests = _run_parser("binaries", path)
    binaries = tuple(Binary(**{key: _to_tuple(value) for key, value in item.items()}) for item in items)
    return binaries, {name: bytes.fromhex(digest) for name, digest in digests.items()}


def analyze_policies(path: Path, wheel: Wheel) -> tuple[PolicyAnalysis, ...]:
    """Run auditwheel in a parser process, for every C library and architecture in a wheel's tags.

    :raises ImpossibleHereError: on Windows, where auditwheel cannot be installed.
    :raises ProcessError: auditwheel is not installed, raised, died, or exceeded its deadline.
    """
    if sys.platform == "win32":
        raise ImpossibleHereError(
            "this check needs auditwheel, which cannot be installed on Windows",
            fix="check the Linux wheels on Linux or macOS, and join the reports with `wheelcheck merge`",
        )
    parts = filter(None, map(libc_and_architecture, wheel.platforms))
    arguments = [f"{libc}:{architecture}" for libc, architecture in dict.fromkeys(parts)]
    return tuple(_policy_analysis(item) for item in _run_parser("policies", path, *arguments))


def can_run_delocate() -> bool:
    """Whether this host has the tools that delocate runs: otool and lipo, from Xcode's command line tools."""
    if sys.platform != "darwin":
        return False
    otool, lipo = shutil.which("otool"), shutil.which("lipo")
    if otool is None or lipo is None:
        return False
    # Without the command line tools, /usr/bin/otool is a stub that asks the user to install them.
    is_stub = Path(otool).parent == Path("/usr/bin")
    return not is_stub or process.run(["xcode-select", "--print-path"], check=False).returncode == 0


def analyze_with_delocate(path: Path) -> dict[str, DelocatedFile]:
    """Run delocate on the Mach-O files of a wheel in a parser process.

    :returns: one value for each Mach-O file that delocate can read, by its name in the container.
    :raises ProcessError: delocate raised, died, or exceeded its deadline.
    """
    return {
        name: DelocatedFile(
            architectures=frozenset(item["architectures"]),
            minimum_versions=item["minimum_versions"],
            unresolved=item["unresolved"],
        )
        for name, item in _run_parser("delocate", path)
    }


def render_description(path: Path) -> str:
    """Render the description of a wheel as reStructuredText in a parser process.

    :returns: why it cannot be rendered; an empty string if it can.
    :raises ImpossibleHereError: readme-renderer, an optional dependency, is not installed.
    :raises ProcessError: the renderer died or exceeded its deadline.
    """
    if importlib.util.find_spec("readme_renderer") is None:
        raise ImpossibleHereError(
            "readme-renderer is not installed, so the reStructuredText description was not checked",
            fix="install pytest-wheelcheck[readme]",
        )
    return str(_run_parser("rendering", path)[0])


def _policy_analysis(item: dict[str, Any]) -> PolicyAnalysis:
    policies = tuple(
        Policy(
            name=policy["name"],
            aliases=tuple(policy["aliases"]),
            priority=policy["priority"],
            versions={key: tuple(value) for key, value in policy["versions"].items()},
            libraries=_to_tuple(policy["libraries"]),
            symbols=_to_tuple(policy["symbols"]),
        )
        for policy in item.pop("policies", [])
    )
    return PolicyAnalysis(policies=policies, **item)


def _to_tuple(value: Any) -> Any:
    """Replace lists, which JSON has instead of tuples."""
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value


def _run_parser(task: str, path: Path, *arguments: str) -> list[Any]:
    """Run the parser process and return its answer."""
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as directory:
        answer_file = Path(directory, "answer.json")
        work = Path(directory, "work")
        work.mkdir()
        module = f"{__package__}.parser_process"
        ended = process.run(
            [sys.executable, "-m", module, task, os.path.abspath(path), answer_file, *arguments],  # noqa: PTH100
            env=_environment(work),
            cwd=work,
            timeout=DEADLINE + DEADLINE_PER_MIB * (path.stat().st_size >> 20),
            check=False,
        )
        if ended.returncode == 0 and answer_file.is_file():
            answer: list[Any] = json.loads(answer_file.read_text("utf-8"))
            return answer
    raise ProcessError(
        f"{path.name} could not be checked: the parser process ended with {process.describe_status(ended.returncode)}",
        cause="a file in the wheel is malformed in a way that the parser library does not survive"
        if ended.returncode != NOT_INSTALLED
        else "a library that the check needs is not installed on this system",
        details=ended.stderr or ended.stdout,
    )


def _environment(work: Path) -> dict[str, str]:
    """Give the parser process our import path, but never the working directory of the run."""
    environment = dict(os.environ)
    for name in ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONDEVMODE"):
        environment.pop(name, None)
    import_path = [os.path.abspath(entry) for entry in sys.path if entry]  # noqa: PTH100 - zip files are kept as they are
    environment |= {"PYTHONPATH": os.pathsep.join(import_path), "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}
    return environment | {"TMPDIR": os.fspath(work), "TEMP": os.fspath(work), "TMP": os.fspath(work)}
