"""What ``--cov`` measures in a target, and where the project has the source of a wheel's modules.

The values of ``--cov`` name packages or directories of the source tree, but a target runs the files that the wheel has installed.
coverage takes a value for a directory if there is one of that name, so ``--cov=pkg`` would measure the source tree of a
project whose package is at its root, where nothing runs.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.base import Environment
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Coverage, Settings
from pytest_wheelcheck.targets.planning.left_out import read_configuration, source_directories

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

#: The files that coverage reads if none is named: the first one with settings of coverage. Names of their sections follow.
_FILES = (
    (".coveragerc", ("run",)),
    (".coveragerc.toml", ("run",)),
    ("setup.cfg", ("coverage:run",)),
    ("tox.ini", ("coverage:run",)),
    ("pyproject.toml", ("tool", "coverage", "run")),
)

#: The settings that name what is measured.
_SOURCES = ("source", "source_pkgs", "source_dirs")


def find_sources(wheel: Wheel, settings: Settings) -> dict[str, Path]:
    """Return the directories that the source tree has a wheel's modules in, by their top-level names.

    A name is left out if the source tree has less than half of its modules: it is another project's, or generated.
    """
    found: dict[str, Path] = {}
    for directory in dict.fromkeys((settings.root, settings.cwd)):
        bases = [directory / base for base in source_directories(read_configuration(directory))]
        for top in wheel.top_levels:
            own = [path for path in wheel.files if path == f"{top}.py" or _is_module_below(path, top)]
            if own and top not in found:
                counts = {base: sum((base / path).is_file() for path in own) for base in bases}
                best = max(counts, key=lambda base: counts[base])
                if 2 * counts[best] >= len(own):
                    found[top] = best
    return found


def _is_module_below(path: str, top: str) -> bool:
    return path.startswith(f"{top}/") and path.endswith(".py")


def measured(wheel: Wheel, environment: Environment, settings: Settings, coverage: Coverage) -> list[str]:
    """Return the values of ``--cov`` for a target; directories are absolute paths of this host."""
    tops = [
        top
        for top in wheel.top_levels
        if any(path == f"{top}.py" or _is_module_below(path, top) for path in wheel.files)
    ]
    values = coverage.sources or configured(settings.cwd, coverage.config) or tops or wheel.top_levels
    bases = find_sources(wheel, settings)
    found = [text for value in values for text in _translated(value, wheel, environment, settings.cwd, bases)]
    return list(dict.fromkeys(found))


def _translated(
    value: str, wheel: Wheel, environment: Environment, cwd: Path, bases: Mapping[str, Path]
) -> Iterator[str]:
    path = Path(os.path.abspath(cwd / value))  # noqa: PTH100  symbolic links stay
    if value and path.exists():
        found: list[str] = []
        inside = False
        for top, base in bases.items():
            if path.is_relative_to(base / top) or path == base / f"{top}.py":
                inside = True
                found += _installed(path.relative_to(base).as_posix().removesuffix(".py"), environment)
            elif base.is_relative_to(path):
                found += _installed(top, environment)
        # A directory of sources may contain tests as well.
        if not inside or not found:
            yield str(path)
        yield from found
    elif value.partition(".")[0] in wheel.top_levels:
        yield from _installed(value.replace(".", "/"), environment) or [value]
    else:
        yield value


def _installed(name: str, environment: Environment) -> list[str]:
    """Return the installed directories of a package; the dotted name of a module."""
    directories = [str(site / name) for site in environment.site_directories if (site / name).is_dir()]
    is_module = any((site / f"{name}.py").is_file() for site in environment.site_directories)
    return directories or ([name.replace("/", ".")] if is_module else [])


def configured(cwd: Path, config: str) -> list[str]:
    """Return what coverage's configuration measures; nothing if it does not say.

    :param config: the value of ``--cov-config``; empty for the usual files.
    """
    if config and config != ".coveragerc":
        # The user's own file has the names of sections of either kind.
        files: Sequence[tuple[str, tuple[str, ...]]] = [
            (config, names) for names in (("run",), ("coverage:run",), ("tool", "coverage", "run"))
        ]
    else:
        files = _FILES
    for name, section in files:
        run = _section(cwd / name, section)
        if run is not None:
            return [text for key in _SOURCES for text in _words(run.get(key, ()))]
    return []


def _section(file: Path, names: tuple[str, ...]) -> Mapping[str, Any] | None:
    """Return a section of a configuration file; ``None`` if the file does not have it."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            found: Any = tomllib.loads(text)
            for name in names:
                found = found[name]
            return found if isinstance(found, dict) else None
        parser = configparser.RawConfigParser()
        parser.read_string(text)
        return dict(parser[names[-1]])
    except (OSError, ValueError, KeyError, configparser.Error):
        # coverage itself reports a file that it cannot read.
        return None


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        value = value.replace(",", "\n").splitlines()
    return [str(each).strip() for each in value if str(each).strip()] if isinstance(value, (list, tuple)) else []
