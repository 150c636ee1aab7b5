"""Which modules of a wheel the import check imports, and which files it compiles.

Python source: the reference of the import system, regular and namespace packages (PEP 420).
"""

from __future__ import annotations

import fnmatch
import keyword
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.wheels.modules import module_name
from pytest_wheelcheck.worker.guard import is_test_name
from pytest_wheelcheck.worker.messages import ImportJob

_SUFFIXES = (".py", ".pyc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The modules that are imported in one process after *root*.

    :param root: a top-level module or package, a package below a namespace package, or a namespace package.
    :param modules: dotted names, sorted: a package comes before its modules.
    """

    root: str
    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportPlan:
    """What the import check imports and compiles.

    :param jobs: each has a node of its own. A package comes before its modules.
    :param groups: all other modules.
    :param loose: modules in a directory without ``__init__.py`` inside a regular package. They may be data.
    :param main: the top-level names that a user of the wheel imports: those with the name of the distribution, or all.
    :param sources: the files to compile, relative to site-packages: all but those of *jobs*.
    :param extension_files: dotted names of extension modules by their files, relative to site-packages.
    """

    jobs: tuple[ImportJob, ...]
    groups: tuple[Group, ...]
    loose: frozenset[str]
    main: frozenset[str]
    sources: tuple[str, ...]
    extension_files: dict[str, str]


def make_plan(wheel: Wheel, ignore: Sequence[str]) -> ImportPlan:
    """Plan the import check of a wheel.

    Tests and ``__main__`` are not imported, except where they are at the top level.

    :param ignore: :mod:`fnmatch` patterns of dotted names that are not meant to be imported.
    """

    def wanted(name: str) -> bool:
        return not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignore)

    files = dict(_source_modules(wheel))
    extensions = {path: name for path in wheel.files if (name := module_name(path)) in wheel.extension_modules}
    natives = set(wheel.extension_modules)
    packages = {name for name, path in files.items() if _is_init(path)}
    packages |= {name for path, name in extensions.items() if path.rpartition("/")[2].startswith("__init__.")}
    roots: dict[str, None] = {}
    namespaces = []
    for top in wheel.import_names:
        if top in files or top in natives:
            roots[top] = None
        else:
            namespaces.append(top)
            roots.update(dict.fromkeys(_packages_below(top, packages)))
    jobs: list[ImportJob] = [
        {"name": name, "kind": "import", "module": name, "attribute": "", "after": ""}
        for name in dict.fromkeys((*roots, *wheel.extension_modules))
        if wanted(name)
    ]
    for name, reference in wheel.console_scripts:
        module, _, attribute = reference.partition("[")[0].strip().partition(":")
        job: ImportJob = {
            "name": name,
            "kind": "entry",
            "module": module.strip(),
            "attribute": attribute.strip(),
            "after": "",
        }
        jobs.append(job)
    others = [name for name in sorted(files) if name not in roots and name not in natives and wanted(name)]
    others = [name for name in others if not any(is_test_name(part) for part in name.split(".")[1:])]
    grouped: dict[str, list[str]] = {}
    for name in others:
        grouped.setdefault(_root_of(name, roots, namespaces), []).append(name)
    own = {files.get(root) for root in roots if wanted(root)}
    return ImportPlan(
        jobs=tuple(jobs),
        groups=tuple(
            Group(root=root, modules=tuple(modules)) for root, modules in grouped.items() if root and wanted(root)
        ),
        loose=frozenset(name for name in others if _is_loose(name, _root_of(name, roots, namespaces), packages)),
        main=main_names(wheel),
        sources=tuple(path for path in wheel.files if path.endswith(".py") and path not in own),
        extension_files=extensions,
    )


def main_names(wheel: Wheel) -> frozenset[str]:
    """Return the top-level names with the name of the distribution; all if there are none."""
    tops = frozenset(wheel.top_levels)
    return frozenset(top for top in tops if canonicalize_name(top) == canonicalize_name(wheel.name)) or tops


def _source_modules(wheel: Wheel) -> Iterator[tuple[str, str]]:
    """Yield the dotted names and files of the modules in Python, without ``__main__``."""
    for path in wheel.files:
        stem, dot, suffix = path.rpartition(".")
        parts = stem.split("/")
        if f"{dot}{suffix}" not in _SUFFIXES or "__pycache__" in parts or parts[-1] == "__main__":
            continue
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
            yield ".".join(parts), path


def _is_init(path: str) -> bool:
    return path.rpartition("/")[2].startswith("__init__.")


def _packages_below(namespace: str, packages: set[str]) -> Iterator[str]:
    """Yield the regular packages nearest to a namespace package, except those of tests."""
    for name in sorted(packages):
        parts = name.split(".")
        if not name.startswith(f"{namespace}.") or any(map(is_test_name, parts[1:])):
            continue
        if not any(".".join(parts[:length]) in packages for length in range(1, len(parts))):
            yield name


def _root_of(name: str, roots: dict[str, None], namespaces: list[str]) -> str:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in roots:
            return prefix
    return parts[0] if parts[0] in namespaces else ""


def _is_loose(name: str, root: str, packages: set[str]) -> bool:
    """Return whether a module of a regular package is in a directory without ``__init__.py``."""
    if root not in packages:
        return False
    parts = name.split(".")
    between = range(root.count(".") + 1, len(parts))
    return any(".".join(parts[:length]) not in packages for length in between)
