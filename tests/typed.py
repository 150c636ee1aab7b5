"""The commands that README and the pages show, and how a test runs one: exactly as a user types it."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from builders import build_wheel

ROOT = Path(__file__).parent.parent

#: Pages whose commands their own tests read and run: ``test_guides.py`` and ``test_ci_recipes.py``.
_READ_BY_TESTS = {ROOT / "docs" / name for name in ("tutorial.md", "ci.md")}

PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - _READ_BY_TESTS)

#: The programs of this environment; others are those of ``PATH``.
SCRIPTS = Path(sys.executable).parent


def commands() -> Iterator[str]:
    """Yield the command of each line with a prompt, which may name the machine. Quoted text may have several lines."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:console)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield from _commands(block)


def _commands(block: str) -> Iterator[str]:
    lines = iter(block.splitlines())
    for line in lines:
        if match := re.match(r"(?:\w[\w ]*)?\$ +(.*)", line):
            command = match[1]
            while not _is_whole(command):
                command += f"\n{next(lines)}"
            yield re.sub(r" +# .*", "", command).strip()


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


def typed_in(*names: str) -> set[str]:
    """Return the texts of those tests that call :func:`typed`, in their code and in their decorators.

    :param names: the files of the tests.
    """
    found = set()
    for name in names:
        tree = ast.parse((ROOT / "tests" / name).read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            nodes = list(ast.walk(function))
            if any(isinstance(node, ast.Call) and ast.unparse(node.func) == "typed" for node in nodes):
                found |= {
                    node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    return found


def typed(command: str, directory: Path, *, status: int = 0, **variables: str) -> str:
    """Run a command with no word more and no word less.

    :param status: the exit status that it must have.
    :param variables: more variables of its environment.
    :returns: its output.
    """
    env = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", **variables}
    argv = _windows_argv(command, directory) if sys.platform == "win32" else ["sh", "-c", command]
    done = subprocess.run(
        argv,
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )
    print(f"$ {command}\n{done.stdout}")
    assert "Traceback" not in done.stdout
    assert done.returncode == status, command
    return done.stdout


def _windows_argv(command: str, directory: Path) -> list[str]:
    """Do what a shell with POSIX's quotes does."""
    words: list[str] = []
    for word in shlex.split(command):
        is_pattern = "*" in word and f"'{word}'" not in command
        words += [path.relative_to(directory).as_posix() for path in directory.glob(word)] if is_pattern else [word]
    return [str(SCRIPTS / words[0]), *words[1:]]


def has_passed(output: str, target: str) -> bool:
    """Return whether the table of a run says that all tests and steps of a target passed.

    :param target: the end of its name.
    """
    return bool(re.search(rf"^  \S*{re.escape(target)} +\d tests? passed; 2 checks passed  ", output, re.MULTILINE))


def make_project(root: Path, tag: str = "", *, name: str = "pkg") -> Path:
    """Write a project with a wheel and a test; return its directory.

    :param tag: of the wheel; by default that of the running interpreter.
    """
    stem = name.replace("-", "_")
    files = {f"{stem}/__init__.py": "VALUE = 1\n"}
    build_wheel(root / "dist", name, files=files, tags=[tag or f"cp3{sys.version_info[1]}-none-any"])
    (root / stem).mkdir()
    (root / stem / "__init__.py").write_text(files[f"{stem}/__init__.py"], encoding="utf-8")
    (root / "tests").mkdir()
    (root / "tests" / "test_round_trip.py").write_text(
        f"import {stem}\n\n\ndef test_round_trip(): assert {stem}.VALUE == 1\n", encoding="utf-8"
    )
    table = "[dependency-groups]\ntest = []\n"
    if tag:
        # The wheel of one platform has no native file.
        table += '[tool.wheelcheck]\nignore = ["WHL602"]\n'
    (root / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1.0"\n{table}', encoding="utf-8")
    return root
