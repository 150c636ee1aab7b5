"""Which versions of its dependencies a wheel is installed with: the newest, or the oldest that it declares.

Only the wheel is installed with them. What the tests need in addition is resolved to the newest versions, next to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Wheel

#: uv's names of the ways to choose versions.
RESOLUTIONS = ("highest", "lowest", "lowest-direct")

#: For uv, a direct dependency is one that it was asked for, not one of the wheel that it was asked for.
_DIRECT = "lowest-direct"


def parse_resolution(text: str) -> str:
    """Read the value of ``--wheel-resolution``; empty for uv's own setting.

    :raises UsageError: it is not one of :data:`RESOLUTIONS`.
    """
    if text and text not in RESOLUTIONS:
        raise UsageError(f"--wheel-resolution {text}: unknown", fix=f"use one of {', '.join(RESOLUTIONS)}")
    return text


def options(resolution: str) -> list[str]:
    """Return uv's options for the dependencies of a wheel."""
    return ["--resolution", resolution] if resolution else []


def is_lowest(resolution: str) -> bool:
    """Return whether old versions are chosen. Many of these have no wheel for a new interpreter, and cannot be built for it."""
    return resolution.startswith("lowest")


def write_direct(wheel: Wheel, extras: Iterable[str], resolution: str, directory: Path) -> list[str | Path]:
    """Write the requirements of a wheel as those of a project, which uv takes for direct ones.

    A pyproject.toml, because its requirements cannot be options or paths, and because it can have extras.

    :param directory: an existing one for the file.
    :returns: the file and the options with its extras; empty if *resolution* does not need them.
    """
    if resolution != _DIRECT:
        return []
    everything = [text for line in wheel.requires if (text := _parsed(line))]
    lines = ["[project]", 'name = "wheelcheck-direct"', 'version = "0"']
    lines += [f"dependencies = {json.dumps(everything, ensure_ascii=False)}", "[project.optional-dependencies]"]
    # In this group, the marker `extra == "NAME"` is true.
    chosen = sorted(set(extras))
    lines += [f"{json.dumps(extra)} = {json.dumps(everything, ensure_ascii=False)}" for extra in chosen]
    path = directory / "pyproject.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path, *(argument for extra in chosen for argument in ("--extra", extra))]


def _parsed(line: str) -> str:
    """Return a requirement in its canonical form; empty if it is none, which the installation of the wheel reports."""
    try:
        return str(Requirement(line))
    except InvalidRequirement:
        return ""
