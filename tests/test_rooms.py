"""The structure of the source: layers of rooms, no import cycles, no long files."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "pytest_wheelcheck"
SOURCE = Path(__file__).parent.parent / "src" / PACKAGE

#: As in docs/design.md. A room imports only rooms of its own and lower layers.
LAYERS = {
    0: {"declarations", "errors", "model", "settings", "setting_lines", "results", "worker"},
    1: {"system", "wheels"},
    2: {"checks", "interpreters"},
    3: {"backends"},
    4: {"targets"},
    5: {"reporting"},
    6: {"plugin", "cli"},
}
LEVEL = {room: level for level, rooms in LAYERS.items() for room in rooms}

#: Lines that a file may have.
MAX_LINES = 420

#: Longer files, with the reason.
LONG_FILES = {
    "checks/table.py": "the table of checks: texts, no code",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes of a tree, also those inside functions, except below ``if TYPE_CHECKING:``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            for other in child.orelse:
                yield from statements(other)
        else:
            yield from statements(child)


def imports(text: str, module: str, *, package: bool) -> set[str]:
    """List the names that a module imports, with their full names.

    :param package: whether the module is an ``__init__.py``.
    """
    found: set[str] = set()
    for node in statements(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            base = parts[: len(parts) - node.level + package] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            found.update(f"{prefix}.{alias.name}" for alias in node.names)
    return found


def imported_modules(module: str) -> set[str]:
    """List the modules of this package that a module imports. A package's ``__init__`` counts only if it is named."""
    path = MODULES[module]
    found = set()
    for name in imports(path.read_text(encoding="utf-8"), module, package=path.name == "__init__.py"):
        # The longest prefix that is a module; what follows are its attributes.
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        if known := next((prefix for prefix in prefixes if prefix in MODULES), None):
            found.add(known)
    return found - {module}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import pytest_wheelcheck.system.cache", {"pytest_wheelcheck.system.cache"}),
        ("from pytest_wheelcheck import system", {"pytest_wheelcheck.system"}),
        ("from pytest_wheelcheck.system import cache", {"pytest_wheelcheck.system.cache"}),
        ("from pytest_wheelcheck.system.cache import root", {"pytest_wheelcheck.system.cache.root"}),
        ("from . import b", {"pytest_wheelcheck.room.b"}),
        ("from .b import c", {"pytest_wheelcheck.room.b.c"}),
        ("from .. import b", {"pytest_wheelcheck.b"}),
        ("def f():\n    from .b import c", {"pytest_wheelcheck.room.b.c"}),
        ("if TYPE_CHECKING:\n    import x\nelse:\n    import y", {"y"}),
        ("import typing\nif typing.TYPE_CHECKING:\n    import x", {"typing"}),
    ],
)
def test_every_form_of_import_is_seen(text: str, expected: set[str]) -> None:
    assert imports(text, "pytest_wheelcheck.room.a", package=False) == expected


def test_relative_import_in_a_package() -> None:
    assert imports("from . import b", "pytest_wheelcheck.room", package=True) == {"pytest_wheelcheck.room.b"}


def test_every_room_has_a_layer() -> None:
    assert {room(module) for module in MODULES} - {"", "__main__"} <= set(LEVEL)


@pytest.mark.parametrize("module", MODULES)
def test_imports_of_lower_layers_only(module: str) -> None:
    if room(module) not in LEVEL:
        return
    above = {
        other
        for other in imported_modules(module)
        if other != PACKAGE and room(other) != room(module) and LEVEL[room(other)] > LEVEL[room(module)]
    }
    assert not above


def test_no_import_cycles() -> None:
    sorter = graphlib.TopologicalSorter({module: imported_modules(module) for module in MODULES})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", MODULES)
def test_length(module: str) -> None:
    path = MODULES[module]
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if path.relative_to(SOURCE).as_posix() in LONG_FILES:
        assert lines > MAX_LINES, "take it off the list"
    else:
        assert lines <= MAX_LINES


#: What runs in the interpreters of targets and on boards.
OLD = sorted([*SOURCE.glob("worker/*.py"), *SOURCE.glob("backends/ssh/onboard/*.py")])


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in OLD])
def test_worker_and_agent_use_old_syntax_and_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            # Relative, because the package has another name in the target.
            assert node.level == 1 or (node.module or "").partition(".")[0] in sys.stdlib_module_names
        elif isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= sys.stdlib_module_names


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) in {"plugin", "cli", "reporting"}])
def test_all_hooks_are_in_one_module(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    hooks = {name for name in functions if name.startswith("pytest_")}
    assert bool(hooks) is (module == f"{PACKAGE}.plugin.hooks")
