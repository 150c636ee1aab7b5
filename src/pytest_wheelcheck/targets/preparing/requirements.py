"""Requirements of the tests, in which the wheel replaces its own project.

Test requirements often name the project that the wheel was built from: ``-e .``, ``.[test]``, ``pkg @ file:...``. uv
would build and install that project. So such lines are replaced by the wheel, also in requirements files and in the
files that these include.

The files are parsed here because uv reads them, and no library has uv's grammar. pip-requirements-parser (pip's parser
of 2022) loses the markers of editables, ends an unquoted path at a space, does not know ``name @ path``, and decodes
files in the encoding of the locale; requirements-parser skips options and relative paths. packaging parses single requirements.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement

from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Named, as_option
from pytest_wheelcheck.targets.preparing.install import InstalledWheel, is_same_name, requirement_for

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

#: What the worker itself needs. 8.4 is the newest pytest for Python 3.9; its reports load in 9.
TOOLS = ("pytest>=8.4", "pytest-timeout")

#: Options that name another file or a directory. Their value is the rest of the line.
_OPTION = re.compile(r"(-r|--requirements?|-c|--constraints?|-f|--find-links)[\s=]*(.*)")

#: A path with extras and a marker.
_PATH = re.compile(r"(?P<path>[^\[\];]+?)(?:\[(?P<extras>[^\]]*)\])?(?:\s*;\s*(?P<marker>.*))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnProject:
    """The project that a wheel was built from.

    :param wheel: the wheel that replaces the project.
    :param directory: the project's directory, if it is known. Every other directory whose ``pyproject.toml`` has the
        name of the wheel's distribution is the project as well.
    """

    wheel: Wheel
    directory: Path | None = None

    def replace(self, line: str) -> str | None:
        """Return the line to write instead of a requirement; ``None`` if it does not name the project by URL or path.

        ``pkg[test]>=1`` is not replaced: uv uses the wheel for it, which is among the requirements.

        :param line: without comments and continuations.
        """
        text = re.sub(r"^(-e|--editable)[\s=]*", "", line)
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            match = _PATH.fullmatch(text)
            if match is None or text.startswith("-") or not self._is_at(match["path"]):
                return None
            extras = [extra.strip() for extra in (match["extras"] or "").split(",") if extra.strip()]
            return self._requirement(extras, match["marker"] or "")
        if requirement.url is None or not is_same_name(requirement.name, self.wheel.name):
            return None
        return self._requirement(requirement.extras, str(requirement.marker or ""))

    def _requirement(self, extras: Iterable[str], marker: str) -> str:
        return requirement_for(self.wheel, extras) + (f" ; {marker}" if marker else "")

    def _is_at(self, path: str) -> bool:
        directory = Path(url2pathname(urlsplit(path).path) if path.startswith("file:") else path)
        try:
            text = (directory / "pyproject.toml").read_text(encoding="utf-8")
            if self.directory is not None and directory.samefile(self.directory):
                return True
            table: dict[str, Any] = tomllib.loads(text).get("project", {})
        except (OSError, ValueError):
            return False
        return is_same_name(str(table.get("name", "")), self.wheel.name)


def write_constraints(scratch: Path, installed: InstalledWheel) -> Path:
    """Write a constraints file that pins everything in the environment except the wheel."""
    lines = [f"{name}=={version}" for name, version in installed.distributions if (name, version) != installed.wheel]
    path = scratch / "constraints.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_requirements(
    directory: Path,
    project: OwnProject,
    installed: InstalledWheel,
    requirements: Sequence[str],
    named: Named = as_option,
) -> Path:
    """Write a requirements file with the wheel, the test tools and the test requirements.

    :param directory: an existing directory for the file, and for changed copies of the files that it includes.
    :param project: is replaced by the wheel.
    :param requirements: requirements, local paths, ``-r FILE`` or ``-c FILE``, relative to the current directory.
    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    :return: the requirements file.
    :raises InstallError: a file in *requirements* does not exist.
    """
    here = Path.cwd()
    check_files(requirements, here, named)
    lines, _ = _rewrite("\n".join(requirements), here, project, directory, ())
    file = directory / "requirements.in"
    file.write_text("".join(f"{line}\n" for line in (*TOOLS, installed.requirement, *lines)), encoding="utf-8")
    return file


def check_files(requirements: Sequence[str], directory: Path, named: Named = as_option) -> None:
    """Refuse files that do not exist.

    :param requirements: see :func:`write_requirements`.
    :param directory: the current one.
    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    :raises InstallError: there is no such file.
    """
    for entry in requirements:
        match = _OPTION.fullmatch(entry.strip())
        if match and "://" not in match[2] and not _path(match[2], directory).exists():
            place = named("--wheel-requires", entry)
            raise InstallError(
                f"{match[2]} does not exist",
                cause=f"{place} names it, and the current directory is {directory}",
                fix=f"correct {place}",
            )


def _rewrite(
    text: str, base: Path, project: OwnProject, copies: Path, parents: tuple[Path, ...]
) -> tuple[list[str], bool]:
    """Rewrite the lines of a requirements file, so that they can be written to another directory.

    :param base: the directory that included files and find-links are relative to. Paths of projects are relative to the
        current directory, as in pip.
    :param copies: the directory for changed copies of included files.
    :param parents: the files that include this one, without links.
    :return: the lines, and whether the project was replaced, here or in an included file.
    """
    lines = []
    changed = False
    for line in _logical_lines(text):
        match = _OPTION.fullmatch(line)
        if match is None:
            replacement = project.replace(line)
            changed |= replacement is not None
            lines.append(line if replacement is None else replacement)
        elif "://" in match[2]:
            lines.append(line)
        else:
            path = _path(match[2], base)
            copy = _rewrite_file(path, project, copies, parents) if match[1].startswith(("-r", "--r")) else path
            changed |= copy != path
            lines.append(f"{match[1]} {copy.as_posix()}")
    return lines, changed


def _rewrite_file(path: Path, project: OwnProject, copies: Path, parents: tuple[Path, ...]) -> Path:
    """Return a changed copy of a requirements file; *path* itself if nothing changes, so that uv's errors name it."""
    resolved = path.resolve()
    if resolved in parents:
        return path  # a file that includes itself
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return path  # uv reports the error
    lines, changed = _rewrite(text, path.parent, project, copies, (*parents, resolved))
    if not changed:
        return path
    copy = copies / f"{len(list(copies.iterdir()))}-{path.stem}.txt"
    copy.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return copy


def _logical_lines(text: str) -> Iterator[str]:
    """Yield the lines of a requirements file without comments and continuations."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\r?\n", " ", text)
    for line in text.splitlines():
        if content := re.sub(r"\s#.*$", "", line).strip():
            yield content


def _path(value: str, base: Path) -> Path:
    """Return the path that an option's value names: as it is, or in quotes or with escapes as in a shell."""
    path = base / value
    if not path.exists():
        with contextlib.suppress(ValueError):  # an open quote
            path = base / " ".join(shlex.split(value))
    return path
