"""Which wheels cibuildwheel builds by ``build``, ``skip``, ``archs``, ``enable`` and ``Requires-Python``, as cibuildwheel 4 does.

Source: cibuildwheel 4.3, ``selector.py``, ``architecture.py`` and ``resources/build-platforms.toml``. A test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

#: CPython, in the order of the clauses.
PYTHONS = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314", "cp315", "cp314t", "cp315t")

#: PyPy, by the word of ``enable``. There is no pytest-wheelcheck for GraalPy.
PYPYS = {"pypy-eol": ("pp39", "pp310"), "pypy": ("pp311", "pp312")}

_SUCCESSIVE = {pair for pair in pairwise(PYTHONS) if not pair[1].endswith("t")}

#: Where cibuildwheel has PyPy.
_OF_PYPY = {"manylinux_x86_64", "manylinux_aarch64", "manylinux_i686", "macosx_x86_64", "macosx_arm64", "win_amd64"}

#: The architectures of each system, and the platforms of wheels for them.
_PLATFORMS: dict[str, dict[str, tuple[str, ...]]] = {
    "linux": {
        name: (f"manylinux_{name}", f"musllinux_{name}")
        for name in ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "riscv64", "s390x")
    },
    "macos": {name: (f"macosx_{name}",) for name in ("x86_64", "arm64", "universal2")},
    "windows": {"amd64": ("win_amd64",), "x86": ("win32",), "arm64": ("win_arm64",)},
}

#: What these words of ``archs`` mean on the runners of the workflow: x86-64 and aarch64, arm64, and AMD64.
_WORDS = {
    "linux": {"auto": ("x86_64", "aarch64"), "auto32": ("i686",)},
    "macos": {"auto": ("arm64",), "auto32": ()},
    "windows": {"auto": ("amd64", "x86"), "native": ("amd64",), "auto64": ("amd64",), "auto32": ("x86",)},
}


def words(value: object) -> tuple[str, ...]:
    """Return the words of a value of the table, which is a string or a list of strings."""
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(word for text in texts for word in str(text).split())


def architectures(table: Mapping[str, Any], system: str) -> tuple[str, ...]:
    """Return the architectures that are built on the runners of a system, in lower case.

    :param system: ``linux``, ``macos`` or ``windows``.
    """
    known, meanings = _PLATFORMS[system], _WORDS[system]
    found: set[str] = set()
    for word in re.split(r"[\s,]+", " ".join(words(setting(table, system, "archs"))) or "auto"):
        name = word.lower()
        if name == "all":
            found.update(known)
        elif name in ("auto", "native", "auto64", "auto32"):
            found.update(meanings.get(name, meanings["auto"]))
        else:
            found.add(name)
    return tuple(name for name in known if name in found)


def setting(table: Mapping[str, Any], system: str, key: str) -> object:
    """Return a value for a system: that of the table of the system, or the one for all systems."""
    own = table.get(system)
    return own[key] if isinstance(own, dict) and key in own else table.get(key)


def pairs(table: Mapping[str, Any], requires_python: str) -> dict[str, set[tuple[str, str]]]:
    """Return the interpreters and platforms of the wheels, by system.

    :param table: ``[tool.cibuildwheel]``.
    :param requires_python: of the project; empty for none.
    """
    enabled = words(table.get("enable"))
    pypys = [name for group, names in PYPYS.items() if group in enabled or "all" in enabled for name in names]
    pythons = [name for name in (*PYTHONS, *pypys) if _admits(requires_python, name)]
    found: dict[str, set[tuple[str, str]]] = {}
    for system in _PLATFORMS:
        build = list(_patterns(words(setting(table, system, "build")) or ("*",)))
        skip = list(_patterns(words(setting(table, system, "skip"))))
        platforms = [name for each in architectures(table, system) for name in _PLATFORMS[system][each]]
        found[system] = {
            (python, platform)
            for python in pythons
            for platform in platforms
            if platform in _OF_PYPY or not python.startswith("pp")
            if _matches(f"{python}-{platform}", build) and not _matches(f"{python}-{platform}", skip)
        }
    return found


def _admits(requires_python: str, python: str) -> bool:
    try:
        # cibuildwheel asks for this version, too: a project may need a later patch of a minor version.
        return SpecifierSet(requires_python).contains(f"3.{python[3:].rstrip('t')}.99")
    except InvalidSpecifier:
        return True


def _matches(identifier: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(identifier, pattern) for pattern in patterns)


def _patterns(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from expand(text)


def expand(text: str) -> Iterator[str]:
    """Yield what the braces of a pattern stand for: ``cp3{9,10}-*``, ``cp3{10..12}-*``."""
    match = re.search(r"\{([^{}]*)\}", text)
    if match is None:
        yield text
        return
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    parts = map(str, range(int(bounds[1]), int(bounds[2]) + 1)) if bounds else match[1].split(",")
    for part in parts:
        yield from expand(text[: match.start()] + part + text[match.end() :])


def clauses(wheels: Collection[tuple[str, str]]) -> Iterator[str]:
    """Yield clauses of ``--wheel-expect`` for interpreters and platforms."""
    names = [name for system in _PLATFORMS.values() for group in system.values() for name in group]
    groups: dict[tuple[str, ...], list[str]] = {}
    for python in (*PYTHONS, *(name for group in PYPYS.values() for name in group)):
        if platforms := tuple(name for name in names if (python, name) in wheels):
            groups.setdefault(platforms, []).append(python)
    for platforms, pythons in groups.items():
        yield f"{' '.join(_ranges(pythons))}: {' '.join(platforms)}"


def _ranges(pythons: Sequence[str]) -> Iterator[str]:
    """Yield the interpreters, with successive versions of CPython as a range."""
    runs: list[list[str]] = []
    for python in pythons:
        if runs and (runs[-1][-1], python) in _SUCCESSIVE:
            runs[-1].append(python)
        else:
            runs.append([python])
    for run in runs:
        yield run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}"
