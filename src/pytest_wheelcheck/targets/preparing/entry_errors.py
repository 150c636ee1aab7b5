"""A console script that refers to a function which does not exist."""

from __future__ import annotations

import ast
import contextlib
import difflib
from pathlib import Path

from pytest_wheelcheck.results import RemoteError
from pytest_wheelcheck.worker.messages import ImportJob


def explain_entry(job: ImportJob, error: RemoteError, sites: tuple[Path, ...]) -> list[str]:
    """Return the lines that name the entry point and a similar name of its module; none for another error."""
    name = job["attribute"].partition(".")[0]
    missing = f"module {job['module']!r} has no attribute {name!r}"
    if job["kind"] != "entry" or error.type != "AttributeError" or not error.message.startswith(missing):
        return []
    entry = f'{job["name"]} = "{job["module"]}:{job["attribute"]}"'
    names = _public_names(job["module"], sites)
    similar = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {similar[0]}? Correct" if similar else "correct"
    return [
        f"Cause: [project.scripts] {entry} names a function that {job['module']} does not have",
        f"Fix: {guess} the entry in pyproject.toml (or where the build configuration has it), or define {name}",
    ]


def _public_names(module: str, sites: tuple[Path, ...]) -> list[str]:
    """Return what the source of a module defines or imports at its top, without names that begin with an underscore."""
    path = module.replace(".", "/")
    for source in (site / file for site in sites for file in (f"{path}.py", f"{path}/__init__.py")):
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            found: list[str] = []
            for node in ast.parse(source.read_bytes()).body:
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    found.append(node.name)
                elif isinstance(node, (ast.Import, ast.ImportFrom)):
                    found += [alias.asname or alias.name for alias in node.names]
                elif isinstance(node, ast.Assign):
                    found += [target.id for target in node.targets if isinstance(target, ast.Name)]
            return [name for name in found if not name.startswith("_")]
    return []
