"""Runs the parsers of other projects in a process that may die.

:mod:`~pytest_wheelcheck.wheels.bounded` runs :mod:`~pytest_wheelcheck.checks.parser_process`. An answer that it does not
give is an error of the check and never a pass.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from pytest_wheelcheck.checks.delocation import DelocatedFile
from pytest_wheelcheck.checks.policies import Policy, PolicyAnalysis, libc_and_architecture
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.system import process
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.bounded import binary_of, run_parser, to_tuple
from pytest_wheelcheck.wheels.container import Member

#: Files with these endings are never native, and are not read by the parsers.
_TEXT_ENDINGS = (
    *(".py", ".pyi", ".pyc", ".pyx", ".pxd", ".c", ".cpp", ".h", ".hpp", ".hxx", ".cuh"),
    *(".txt", ".md", ".rst", ".json", ".html", ".css", ".js", ".svg", ".xml"),
)


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
    return tuple(map(binary_of, items)), {name: bytes.fromhex(digest) for name, digest in digests.items()}


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
            libraries=to_tuple(policy["libraries"]),
            symbols=to_tuple(policy["symbols"]),
        )
        for policy in item.pop("policies", [])
    )
    return PolicyAnalysis(policies=policies, **item)


def _run_parser(task: str, path: Path, *arguments: str) -> list[Any]:
    """Run the parser process and return its answer."""
    return run_parser(f"{__package__}.parser_process", task, os.path.abspath(path), *arguments, subject=path.name)  # noqa: PTH100
