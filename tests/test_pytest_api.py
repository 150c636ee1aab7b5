"""The page of what is used of pytest without being public is complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest_api

import pytest_wheelcheck

SOURCE = Path(pytest_wheelcheck.__file__).parent
MODULES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}

#: Private names that are not pytest's, and whose they are.
OTHERS = {
    "_SimpleCData": "ctypes",
    "_SubParsersAction": "argparse",
    "_base_executable": "sys",
    "_current_frames": "sys",
    "_exit": "os",
    "_facts": "worker/facts.py",
    "_find_incompatible_extension_module": "traceback",
    "_fix_co_filename": "_imp",
    "_get_macos_min_version": "delocate",
    "_getframe": "sys",
    "_handle": "subprocess",
    "_is_gil_enabled": "sys",
    "_replace": "collections.namedtuple",
}


def defined(tree: ast.Module) -> set[str]:
    """Return the names that a module gives functions, classes, fields and attributes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", "made"}:
                names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def used(tree: ast.Module) -> Iterator[str]:
    """Yield what a module uses of ``_pytest``, and private attributes of objects that are not its own."""
    own = defined(tree)
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "_pytest":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "_pytest")
        elif isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            name = str(node.args[1].value) if isinstance(node.args[1], ast.Constant) else ""
        if re.match("_[A-Za-z]", name) and name not in own:
            yield name


def test_the_list_is_complete() -> None:
    found = {module: {*used(tree)} for module, tree in MODULES.items()}
    assert set.union(*found.values()) >= OTHERS.keys()
    found = {module: names for module, all_names in found.items() if (names := all_names - OTHERS.keys())}
    listed: dict[str, set[str]] = {}
    for use in pytest_api.USES:
        listed.setdefault(use.module, set()).update(use.names)
    assert found == listed, "change docs/pytest_api.py"


def test_the_oldest_version_that_was_tested_is_the_supported_one() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"pytest>={pytest_api.TESTED_VERSIONS[0]}"' in text
