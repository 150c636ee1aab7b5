"""A room imports only what stands above it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "pytest_wheelcheck"

#: As in docs/design.md.
LAYERS = {
    0: {"errors", "model", "settings", "results", "worker"},
    1: {"system", "wheels"},
    2: {"checks", "interpreters"},
    3: {"backends"},
    4: {"targets"},
    5: {"reporting"},
    6: {"plugin", "cli"},
}
LEVEL = {room: level for level, rooms in LAYERS.items() for room in rooms}


def rooms() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room not in {"__init__", "__main__"}:
            yield room, path


def imported(path: Path) -> Iterator[str]:
    """Yield the rooms that a file imports, also inside functions."""
    depth = len(path.relative_to(SOURCE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level == depth:
                yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            elif node.level == 0 and (node.module or "").startswith("pytest_wheelcheck."):
                yield (node.module or "").split(".")[1]


def test_every_room_has_its_place() -> None:
    assert {room for room, _ in rooms()} <= set(LEVEL)


@pytest.mark.parametrize(("room", "path"), [pytest.param(*pair, id=pair[1].name) for pair in rooms()])
def test_imports_go_up_only(room: str, path: Path) -> None:
    for other in imported(path):
        if other in LEVEL and other != room:
            assert LEVEL[other] <= LEVEL[room], f"{path.name} imports {other}"


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in SOURCE.glob("worker/*.py")])
def test_what_runs_in_the_target_uses_old_syntax_and_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            # One of its own neighbours, whatever the name of their folder is there.
            assert node.level == 1 or (node.module or "").partition(".")[0] in sys.stdlib_module_names
        elif isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= sys.stdlib_module_names
