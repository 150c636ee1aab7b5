"""A console script that refers to a function which does not exist."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from pytest_wheelcheck.errors import did_you_mean
from pytest_wheelcheck.results import RemoteError
from pytest_wheelcheck.worker.messages import ImportJob

#: A function, a class or a variable of a module. A parser of Python may crash on a source that was made for that.
_DEFINITION = re.compile(r"^(?:(?:async )?def|class)[ \t]+(\w+)|^(\w+)[ \t]*=[^=]", re.MULTILINE)

#: Bytes of a source that are read.
_MAX_SOURCE = 1 << 20


def explain_entry(job: ImportJob, error: RemoteError, sites: tuple[Path, ...]) -> list[str]:
    """Return the lines that name the entry point and a similar name of its module; none for another error."""
    name = job["attribute"].partition(".")[0]
    missing = f"module {job['module']!r} has no attribute {name!r}"
    if job["kind"] != "entry" or error.type != "AttributeError" or not error.message.startswith(missing):
        return []
    entry = f'{job["name"]} = "{job["module"]}:{job["attribute"]}"'
    names = _public_names(job["module"], sites)
    guess = did_you_mean(name, names)
    correct = f"{guess} Correct" if guess else "correct"
    return [
        f"Cause: [project.scripts] {entry} names a function that {job['module']} does not have",
        f"Fix: {correct} the entry in pyproject.toml (or where the build configuration has it), or define {name}",
    ]


def _public_names(module: str, sites: tuple[Path, ...]) -> list[str]:
    """Return what the source of a module defines at its top, without names that begin with an underscore."""
    path = module.replace(".", "/")
    for source in (site / file for site in sites for file in (f"{path}.py", f"{path}/__init__.py")):
        with contextlib.suppress(OSError), source.open("rb") as file:
            found = _DEFINITION.findall(file.read(_MAX_SOURCE).decode("utf-8", "replace"))
            return [name for names in found for name in names if name and not name.startswith("_")]
    return []
