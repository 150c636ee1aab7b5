"""Files of the source tree that the wheel of the project does not contain, or contains as they were before.

A module that nobody imports in a test, or a data file that is read late, is missing without any failure. So the files of the
project's packages that git tracks are compared with the wheel. Test files, sources of compiled code and files that only a
build or an editor reads are left out of the comparison.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.results import StepResult, unexpected
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.planning.sandboxing import is_published
from pytest_wheelcheck.targets.planning.source_files import changed_since, list_files

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

#: The name of the node that has the warnings.
NODE = "source-tree"

#: Files named in one warning.
_MAX_NAMES = 10

#: Directories of a project that packages are usually in, for projects that do not configure them.
_USUAL_DIRECTORIES = ("src", ".", "python", "lib")

#: Directories and files whose contents are for the project's developers.
_DEVELOPMENT = frozenset({"tests", "test", "docs", "doc", "examples", "benchmarks", "node_modules", "__pycache__"})
_DEVELOPMENT_FILES = (
    *(
        "conftest.py",
        "test_*.py",
        "*_test.py",
        "setup.py",
        "meson.build",
        "meson_options.txt",
        "CMakeLists.txt",
        "Makefile",
    ),
    *("README*", "CHANGELOG*", "LICENSE*", "BUILD", "BUILD.bazel", ".*"),
)

#: Endings of the sources of compiled or generated files, and of files that only a build or an editor reads.
_SOURCES = frozenset(
    {
        *(
            ".c",
            ".cc",
            ".cpp",
            ".cxx",
            ".h",
            ".hh",
            ".hpp",
            ".hxx",
            ".inl",
            ".cu",
            ".cuh",
            ".m",
            ".mm",
            ".s",
            ".asm",
            ".def",
        ),
        *(
            ".pyx",
            ".pxd",
            ".pxi",
            ".tp",
            ".rs",
            ".go",
            ".zig",
            ".f",
            ".f90",
            ".pyf",
            ".d",
            ".swg",
            ".i",
            ".cmake",
            ".build",
        ),
        *(
            ".in",
            ".src",
            ".po",
            ".pot",
            ".ts",
            ".tsx",
            ".jsx",
            ".scss",
            ".less",
            ".map",
            ".md",
            ".rst",
            ".ipynb",
            ".patch",
        ),
        *(".orig", ".rej", ".pyc", ".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".lib", ".bat", ".sh"),
    }
)

#: Build backend → settings that decide which modules, and which other files, are in the wheel.
_SETTINGS = {
    "setuptools": ("packages or [tool.setuptools.packages.find]", "[tool.setuptools.package-data] or MANIFEST.in"),
    "hatchling": ("[tool.hatch.build.targets.wheel] packages, include or exclude",) * 2,
    "maturin": ("[tool.maturin] python-source or python-packages", "[tool.maturin] include or exclude"),
    "poetry": ("[tool.poetry] packages", "[tool.poetry] include or exclude"),
    "pdm": ("[tool.pdm.build] includes or excludes",) * 2,
    "flit_core": ("[tool.flit.module] name",) * 2,
    "scikit_build_core": ("[tool.scikit-build] wheel.packages or wheel.exclude",) * 2,
    "mesonpy": ("py.install_sources in meson.build",) * 2,
    "uv_build": ("[tool.uv.build-backend] module-name", "[tool.uv.build-backend] wheel-exclude or source-exclude"),
}
_UNKNOWN_SETTING = ("the packages of the build configuration", "the package data of the build configuration")

_ABSENT = "is in your source tree but not in the wheel"


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """The files that a wheel lacks.

    :param files: the paths in the source tree, relative to the root directory, by the paths that they would have below
        site-packages.
    :param settings: the build settings that decide on modules, and on other files.
    :param changed: files that were changed after the wheel was built.
    :param error: why they could not be compared.
    """

    files: Mapping[str, str]
    settings: tuple[str, str] = _UNKNOWN_SETTING
    changed: tuple[str, ...] = ()
    error: StepResult | None = None

    def step(self) -> StepResult | None:
        """Return the node with the warnings, or with the error; ``None`` without any."""
        if self.error is not None:
            return self.error
        warnings = tuple(self._warnings())
        return StepResult(name=NODE, outcome=Outcome.PASSED, warnings=warnings) if warnings else None

    def _warnings(self) -> Iterator[str]:
        modules = [path for path in self.files if path.endswith(".py")]
        stubs = [path for path in self.files if path.endswith((".pyi", "/py.typed"))]
        others = [path for path in self.files if path not in modules and path not in stubs]
        for paths, setting in ((modules, self.settings[0]), (stubs, self.settings[1]), (others, self.settings[1])):
            if paths:
                names = first_names([self.files[path] for path in paths], _MAX_NAMES)
                what = _ABSENT if len(paths) == 1 else "are in your source tree but not in the wheel"
                yield (
                    f"{names} {what}\nFix: correct {setting} and build the wheel again. "
                    f"If they do not belong in the wheel, set {list_line('source_ignore', *(self.files[path] for path in paths))}"
                )

        if self.changed:
            was = "was" if len(self.changed) == 1 else "were"
            yield (
                f"{first_names(list(self.changed), _MAX_NAMES)} {was} changed after the wheel was built\n"
                f"Fix: build the wheel again. If the build changes such files, set {list_line('source_ignore', *self.changed)}"
            )

    def explain(self, message: str) -> str:
        """Return the sentence that names the file which an exception lacks; empty if it is none of these files.

        :param message: of the exception.
        """
        for path in self._missing_modules(message):
            if path in self.files:
                return f"{self.files[path]} {_ABSENT}"
        if re.search(r"No such file|cannot find the (?:file|path)|FileNotFoundError|does not exist", message):
            text = message.replace("\\\\", "/").replace("\\", "/")
            for path, source in self.files.items():
                if re.search(rf"(?:^|[/'\"]){re.escape(path)}(?:$|['\"\s])", text, re.MULTILINE):
                    return f"{source} {_ABSENT}"
        return ""

    @staticmethod
    def _missing_modules(message: str) -> Iterator[str]:
        names = re.findall(r"No module named '([\w.]+)'", message)
        names += [
            f"{module}.{name}"
            for name, module in re.findall(r"cannot import name '(\w+)' from (?:.*module )?'([\w.]+)'", message)
        ]
        for name in names:
            path = name.replace(".", "/")
            yield from (f"{path}.py", f"{path}/__init__.py")


def find_left_out(wheel: Wheel, settings: Settings) -> LeftOut:
    """Compare the packages of the project at hand with its wheel.

    :returns: no files if the wheel is not of this project, or its packages are not found.
    """
    try:
        return _find_left_out(wheel, settings)
    except Exception as error:  # noqa: BLE001 - a bug that one wheel meets; the others are tested
        return LeftOut(files={}, error=unexpected(NODE, error))


def _find_left_out(wheel: Wheel, settings: Settings) -> LeftOut:
    for directory in dict.fromkeys((settings.root, settings.cwd)):
        configuration = read_configuration(directory)
        if _is_project(directory, configuration, wheel):
            files: dict[str, str] = {}
            changed: dict[str, str] = {}
            for found in _packages(wheel, directory, configuration):
                files.update(_missing(wheel, found))
                if not is_published(wheel):
                    changed.update((path, found[path]) for path in changed_since(wheel, directory, found))
            return LeftOut(
                files=_shown(files, directory, settings),
                settings=_settings(configuration),
                changed=tuple(_shown(changed, directory, settings).values()),
            )
    return LeftOut(files={})


def _shown(files: Mapping[str, str], directory: Path, settings: Settings) -> dict[str, str]:
    """Return files by their paths in the wheel, relative to the root directory, without those that the user ignores."""
    shown = {
        path: Path(os.path.relpath(directory / source, settings.root)).as_posix()
        for path, source in sorted(files.items())
    }
    return {
        path: source
        for path, source in shown.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for name in (path, source) for pattern in settings.source_ignore)
    }


def read_configuration(directory: Path) -> dict[str, Any]:
    """Return pyproject.toml; an empty table if there is none."""
    try:
        return tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _table(configuration: Mapping[str, Any], *names: str) -> Any:
    """Return a value of nested tables; an empty table if there is none."""
    found: Any = configuration
    for name in names:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found


def project_name(configuration: Mapping[str, Any]) -> str:
    """Return the name of a project as its pyproject.toml has it; empty if it has none."""
    names = (_table(configuration, "project", "name"), _table(configuration, "tool", "poetry", "name"))
    return next((name for name in names if isinstance(name, str)), "")


def _is_project(directory: Path, configuration: Mapping[str, Any], wheel: Wheel) -> bool:
    name = project_name(configuration)
    if not name and (directory / "setup.cfg").is_file():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            match = re.search(r"^name\s*=\s*([\w.-]+)\s*$", (directory / "setup.cfg").read_text("utf-8"), re.MULTILINE)
            name = match[1] if match else ""
    if name:
        return canonicalize_name(name) == canonicalize_name(wheel.name)
    # setup.py is not run, so its project has no known name: the packages are compared.
    return (directory / "setup.py").is_file()


def _settings(configuration: Mapping[str, Any]) -> tuple[str, str]:
    backend = _table(configuration, "build-system", "build-backend")
    name = backend.partition(".")[0] if isinstance(backend, str) else "setuptools"
    return _SETTINGS.get(name, _UNKNOWN_SETTING)


def _packages(wheel: Wheel, directory: Path, configuration: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the files of each package of a wheel in the source tree: by their paths in the wheel, relative to *directory*."""
    bases = source_directories(configuration)
    tracked = list_files(directory, bases, wheel.top_levels)
    for top in wheel.top_levels:
        own = {path for path in wheel.files if path.startswith(f"{top}/") and path.endswith(".py")}
        sources = [_below(tracked, base, top) for base in bases]
        found = max(sources, key=lambda source: len(own & source.keys()), default={})
        if own and 2 * len(own & found.keys()) >= len(own):
            # Otherwise another project's package, or one that the build generates.
            yield found


def _missing(wheel: Wheel, found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield those of the files of a package that the wheel lacks."""
    present = {*wheel.files, *(f"{module.replace('.', '/')}.py" for module in wheel.extension_modules)}
    present |= {path[:-1] for path in wheel.files if path.endswith(".pyc")}
    directories = {parent.as_posix() for path in wheel.files for parent in PurePosixPath(path).parents}
    for path, source in found.items():
        if path not in present and _belongs(path, found, directories):
            yield path, source


def source_directories(configuration: Mapping[str, Any]) -> list[str]:
    """Return the directories of a project that its packages may be in, the configured ones first."""
    tool = configuration.get("tool", {})
    found: list[Any] = [_table(tool, "maturin", "python-source")]
    where = _table(tool, "setuptools", "packages", "find", "where")
    found += where if isinstance(where, list) else [where]
    package_directories = _table(tool, "setuptools", "package-dir")
    found += package_directories.values() if isinstance(package_directories, dict) else []
    for tables in (("hatch", "build", "targets", "wheel", "packages"), ("scikit-build", "wheel", "packages")):
        packages = _table(tool, *tables)
        found += [PurePosixPath(path).parent.as_posix() for path in packages if isinstance(path, str)]
    names = [PurePosixPath(text).as_posix() for text in found if isinstance(text, str) and text]
    return list(dict.fromkeys((*names, *_USUAL_DIRECTORIES)))


def _below(tracked: Sequence[str], base: str, top: str) -> dict[str, str]:
    """Return the files of a package: their paths by the paths below site-packages."""
    prefix = "" if base == "." else f"{base}/"
    return {path.removeprefix(prefix): path for path in tracked if path.startswith(f"{prefix}{top}/")}


def _belongs(path: str, found: Mapping[str, str], directories: Iterable[str]) -> bool:
    """Return whether a wheel should have a file of one of its packages."""
    pure = PurePosixPath(path)
    if _DEVELOPMENT & {*pure.parts[:-1]} or any(part.startswith(".") for part in pure.parts):
        return False
    if pure.suffix.lower() in _SOURCES or any(fnmatch.fnmatchcase(pure.name, name) for name in _DEVELOPMENT_FILES):
        return False
    # Below a namespace package, other wheels have packages too.
    parents = [parent.as_posix() for parent in reversed(pure.parents)][1:]
    package = next((parent for parent in parents if f"{parent}/__init__.py" in found), None)
    return (package or parents[-1]) in directories
