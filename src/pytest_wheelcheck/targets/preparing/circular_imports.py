"""Modules that can be imported after another one only: both import each other, or native code needs what the other loads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.results import RemoteError
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.targets.preparing.explanations import place
from pytest_wheelcheck.worker.guard import is_test_name
from pytest_wheelcheck.worker.messages import ImportJob

#: What CPython adds to the message, since 3.8 (``Objects/moduleobject.c``, ``Python/ceval.c``).
_CIRCULAR = "most likely due to a circular import"

#: Modules of one circle that are tried.
_MAX_TRIED = 3

#: Bytes of a source that is searched.
_MAX_SOURCE = 1 << 20


def other_modules(job: ImportJob, trace: tuple[RemoteError, ...], wheel: Wheel, sites: tuple[Path, ...]) -> list[str]:
    """Return the modules of the wheel that may have to be imported before a module, the most likely ones first.

    :param job: the import of the module.
    :param trace: why it failed.
    :param sites: the directories of installed modules.
    """
    found: dict[str, None] = {}
    for error in trace:
        if _CIRCULAR in error.message:
            found.update(dict.fromkeys(_modules_of(error, wheel, sites)))
    if not found and trace and trace[-1].type == "ImportError" and not any(_modules_of(trace[-1], wheel, sites)):
        found.update(dict.fromkeys(_importing_modules(job["module"], wheel, sites)))
    # Its packages were imported first.
    return [name for name in found if not f"{job['module']}.".startswith(f"{name}.")][:_MAX_TRIED]


def _importing_modules(module: str, wheel: Wheel, sites: tuple[Path, ...]) -> Iterator[str]:
    """Yield the modules of the wheel whose source imports a native module that refuses to be imported alone.

    Its own code raised the error. It may look for what only they load: ``matplotlib.backends._tkagg`` looks for Tk.
    """
    name = module.rpartition(".")[2]
    if not any(path.endswith((".so", ".pyd")) and _dotted(path) == module for path in wheel.files):
        return
    statement = re.compile(
        rb"^[ \t]*(?:from[ \t]+[\w.]+[ \t]+)?import\b.*\b%s\b" % re.escape(name.encode()), re.MULTILINE
    )
    for path in sorted(
        wheel.files, key=lambda path: not f"{_dotted(path)}.".startswith(f"{module.rpartition('.')[0]}.")
    ):
        if path.endswith(".py") and not any(map(is_test_name, _dotted(path).split("."))):
            source = next((Path(site, path) for site in sites if Path(site, path).is_file()), None)
            if source is not None and source.stat().st_size <= _MAX_SOURCE and statement.search(source.read_bytes()):
                yield _dotted(path)


def _modules_of(error: RemoteError, wheel: Wheel, sites: tuple[Path, ...]) -> Iterator[str]:
    """Yield the modules of a traceback, the innermost first."""
    modules = {_dotted(path): None for path in wheel.files if path.endswith((".py", ".so", ".pyd"))}
    for frame in reversed(error.frames):
        # Compilers record the path of the source, relative to its root.
        name = _dotted(place(frame, sites))
        if name in modules:
            yield name


def _dotted(path: str) -> str:
    """Return the name of a module by the path of its file or source: ``pkg/part/_native.cpython-312.so``."""
    directory, _, file = path.rpartition("/")
    parts = [*directory.split("/"), file.partition(".")[0]] if directory else [file.partition(".")[0]]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def describe(job: ImportJob, other: str, error: RemoteError) -> str:
    """Return the warning about a module that can be imported after another one only."""
    cause = f"a circle of imports with {other}" if _CIRCULAR in error.message else f"it needs what {other} loads"
    return (
        f"{job['name']} cannot be imported first: {error.type}: {error.message.partition(chr(10))[0]}\n"
        f"Cause: {cause}; after `import {other}` it can be imported\n"
        f"Fix: import what it needs inside of functions, or set {list_line('import_ignore', job['name'])}"
    )
