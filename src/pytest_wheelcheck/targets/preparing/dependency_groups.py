"""The dependency groups of a project (PEP 735), read leniently: uv reports what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pytest_wheelcheck.errors import InstallError, did_you_mean
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.settings import Named

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib


def read_groups(project: Path) -> dict[str, tuple[str, ...]]:
    """Return the requirements of each dependency group, with those of the groups that it includes.

    :param project: the directory of ``pyproject.toml``.
    :returns: by the names as they are written; nothing if the file cannot be read.
    """
    groups = _table(project).get("dependency-groups")
    if not isinstance(groups, dict):
        return {}
    entries: dict[str, Any] = {canonicalize_name(name): value for name, value in groups.items()}
    return {name: tuple(_requirements(canonicalize_name(name), entries, ())) for name in groups}


def check_groups(groups: Sequence[str], project: Path | None, named: Named) -> None:
    """Refuse groups that the project does not have.

    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    :raises InstallError: there is no such group.
    """
    if not groups:
        return
    place = named("--wheel-group", groups[0])
    if project is None or not (project / "pyproject.toml").is_file():
        raise InstallError(
            f"the dependency group {groups[0]} was requested, but there is no pyproject.toml",
            cause=f"pytest's rootdir is {project}" if project else "pytest found no rootdir",
            fix=f"run from the project's directory, or correct {place}",
        )
    table = _table(project)
    found = table.get("dependency-groups")
    known = list(found) if isinstance(found, dict) else []
    for group in groups if table else ():
        if canonicalize_name(group) in map(canonicalize_name, known):
            continue
        place = named("--wheel-group", group)
        guess = did_you_mean(group, known, cutoff=0.5)
        fix = f"{guess} Correct {place}" if guess else f"correct {place}"
        if extra := _extra(table, group):
            fix = (
                f"{group} is an extra: pass --wheel-requires '{extra}' instead of the group, "
                f"or set {list_line('requires', extra)}"
            )
        raise InstallError(
            f"pyproject.toml has no dependency group {group}, which {place} names",
            cause=f"its dependency groups are {', '.join(known)}" if known else "it has no [dependency-groups]",
            fix=fix,
        )


def _extra(table: Mapping[str, Any], name: str) -> str:
    """Return the requirement that means an extra of the project; empty if it has no such extra."""
    project = table.get("project")
    extras = project.get("optional-dependencies", {}) if isinstance(project, dict) else {}
    found = next((extra for extra in extras if canonicalize_name(extra) == canonicalize_name(name)), "")
    return f"{project.get('name', '.')}[{found}]" if found and isinstance(project, dict) else ""


def _table(project: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _requirements(name: str, groups: Mapping[str, Any], parents: tuple[str, ...]) -> Iterator[str]:
    entries = groups.get(name, ())
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict) and isinstance(included := entry.get("include-group"), str):
            other = canonicalize_name(included)
            if other not in (*parents, name):
                yield from _requirements(other, groups, (*parents, name))
