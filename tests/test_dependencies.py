"""The declared dependencies are the imported ones."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = "pytest_wheelcheck"
SOURCE = ROOT / "src" / PACKAGE

#: A program that runs in the pip that virtualenv contains imports it.
EMBEDDED = {"pip"}

#: Plugins of pytest, which are not imported: the README promises ``-n``, and tests have timeouts.
PLUGINS = {"pytest-timeout", "pytest-xdist"}


def imported() -> Iterator[str]:
    """Yield the top-level names that the source imports, also inside functions, or reads data files of."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("resources.files"):
                yield from (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))


def declared() -> list[Requirement]:
    """Return the dependencies and extras in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]


def test_every_import_is_declared_and_every_dependency_is_imported() -> None:
    third_party = set(imported()) - sys.stdlib_module_names - {PACKAGE} - EMBEDDED
    installed = packages_distributions()
    # A module that only another version of Python or another system needs is not installed here.
    used = {canonicalize_name(name) for module in third_party for name in installed.get(module, [module])}
    names = {canonicalize_name(requirement.name) for requirement in declared()}
    assert used <= names
    assert names - PLUGINS <= used


def test_every_minimum_version_is_declared() -> None:
    for requirement in declared():
        assert any(specifier.operator == ">=" for specifier in requirement.specifier), requirement
