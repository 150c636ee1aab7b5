"""The requirements of the tests: what the user asked for, with the wheel in place of its own project."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.targets.install import InstalledWheel, is_same_name, requirement_for

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

#: What the worker itself needs. 8.4 is the newest pytest for Python 3.9; its reports load in 9.
TOOLS = ("pytest>=8.4", "pytest-timeout")


def write_constraints(scratch: Path, installed: InstalledWheel) -> Path:
    """Write a constraints file that pins everything in the environment except the wheel."""
    lines = [f"{name}=={version}" for name, version in installed.distributions if (name, version) != installed.wheel]
    path = scratch / "constraints.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_requirements(
    scratch: Path, wheel: Wheel, installed: InstalledWheel, requirements: Sequence[str], project: Path | None
) -> list[Path]:
    """Write what is asked for into files, the wheel too, so that nothing else can bear its name."""
    own = _Own(wheel, project)
    lines = [*TOOLS, installed.requirement]
    files = []
    for entry in requirements:
        if match := re.fullmatch(r"\s*(?:-r|--requirements?)[\s=]*(\S.*?)\s*", entry):
            path = Path(match[1]).absolute()
            if not path.is_file():
                raise InstallError(
                    f"the requirements file {match[1]} is not there",
                    cause=f"it is looked for in {Path.cwd()}",
                    fix="correct --wheel-requires",
                )
            files.append(_rewritten(path, own, scratch, ()))
        else:
            lines.append(own.replace(entry) or entry)
    listed = scratch / "requirements.in"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [listed, *files]


class _Own:
    """Recognizes lines by which requirements name the wheel's own project: by a URL, or as a directory."""

    def __init__(self, wheel: Wheel, project: Path | None) -> None:
        self.wheel = wheel
        self.project = project

    def replace(self, line: str) -> str | None:
        """Give the line to write instead, or ``None`` where *line* is not about the project or may stay.

        ``pkg[test]>=1`` stays: the wheel is a requirement too, so uv takes the wheel.
        """
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        text = re.sub(r"^(-e|--editable)[\s=]*", "", text)
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            match = re.fullmatch(r"(?P<path>[^\[\];]+?)(?:\[(?P<extras>[^\]]*)\])?(?P<marker>\s*;.*)?", text)
            if match is None or text.startswith("-") or not self._is_project(match["path"]):
                return None
            extras = [extra.strip() for extra in (match["extras"] or "").split(",") if extra.strip()]
            return requirement_for(self.wheel, extras) + (f" {match['marker'].strip()}" if match["marker"] else "")
        if requirement.url is None or not is_same_name(requirement.name, self.wheel.name):
            return None
        marker = f" ; {requirement.marker}" if requirement.marker else ""
        return requirement_for(self.wheel, requirement.extras) + marker

    def _is_project(self, text: str) -> bool:
        directory = Path(text.removeprefix("file://").removeprefix("file:"))
        try:
            if not (directory / "pyproject.toml").is_file():
                return False
            if self.project is not None and directory.samefile(self.project):
                return True
            table: Mapping[str, object] = tomllib.loads((directory / "pyproject.toml").read_text("utf-8")).get(
                "project", {}
            )
        except (OSError, ValueError):
            return False
        return is_same_name(str(table.get("name", "")), self.wheel.name)


def _rewritten(path: Path, own: _Own, scratch: Path, above: tuple[Path, ...]) -> Path:
    """Give *path*, or a copy of it in *scratch* where it, or a file that it includes, names the wheel's project."""
    if path in above:
        return path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return path  # uv reports the problem
    changed = False
    lines = []
    for line in _logical_lines(text):
        new = line
        if match := re.match(r"\s*(-r|--requirements?|-c|--constraints?)[\s=]*(\S+)", line):
            # Files are named relative to the file that names them, local projects relative to the working directory.
            inner = (path.parent / match[2]) if "://" not in match[2] else None
            if inner is not None:
                target = (
                    inner if match[1].startswith(("-c", "--c")) else _rewritten(inner, own, scratch, (*above, path))
                )
                changed |= target != inner
                new = f"{match[1]} {target.as_posix()}"
        elif (replaced := own.replace(line)) is not None:
            changed, new = True, replaced
        lines.append(new)
    if not changed:
        return path
    copy = scratch / f"{len(list(scratch.iterdir()))}-{path.stem}.txt"
    copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return copy


def _logical_lines(text: str) -> Iterator[str]:
    return iter(re.sub(r"\\\r?\n", " ", text).splitlines())
