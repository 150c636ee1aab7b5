"""Test modules and plugins of pytest, with rewritten assert statements, before a worker needs them.

See :mod:`pytest_wheelcheck.worker.rewriting`. An interpreter of the host rewrites them, without any code of the wheel: so the
results can be cached for all wheels.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.sandbox import requested_tests
from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.worker import rewriting

#: Name of the directory with the results, in a target's own directory.
RESULTS = "rewritten"

#: Files and bytes of modules that are rewritten ahead, and seconds to find them: a project may have a million other files.
_MAX_FILES, _MAX_SIZE, _MAX_SECONDS = 2_000, 32 << 20, 1.0

#: Directories that hold no tests.
_SKIPPED = frozenset({"__pycache__", "node_modules", "build", "dist", "venv"})


def rewrite_plugins(runtime: Runtime, site: Path, output: Path) -> None:
    """Rewrite the modules of installed plugins, all of which pytest would rewrite.

    :param site: the directory that they and pytest are installed in.
    :param output: an existing directory for the results.
    """
    _rewrite(runtime, site, list(_bounded(_plugin_modules(site))), output)


def rewrite_tests(runtime: Runtime, site: Path, settings: Settings, output: Path) -> None:
    """Rewrite the test modules and conftest files that the run will probably load.

    :param site: the directory that pytest is installed in.
    :param output: receives the results; need not exist.
    """
    own = [site / "_pytest" / "_version.py", site / "_pytest" / "assertion" / "rewrite.py"]
    modules = list(_bounded(_test_modules(settings)))
    if not modules or runtime.backend.bytecode_compiler(runtime) is None:
        return
    try:
        sources = [path.read_bytes() for path in (*own, *modules)]
    except OSError:
        # This pytest is not the one that is known, or a file was removed meanwhile.
        return
    installation = runtime.installation
    version = "".join(map(str, installation.version[:2]))
    key = f"{RESULTS}/{installation.implementation}{version}-{cache.digest(Path(rewriting.__file__).read_bytes(), *sources)}"
    made = cache.provision(key, lambda side: _rewrite(runtime, site, modules, side))
    shutil.copytree(made, output, dirs_exist_ok=True)


def _rewrite(runtime: Runtime, site: Path, modules: Sequence[Path], output: Path) -> None:
    compiler = runtime.backend.bytecode_compiler(runtime)
    if compiler is None or not modules:
        return
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as scratch:
        listed = Path(scratch, "modules")
        listed.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in modules))
        # Without the results everything works the same, but slower.
        with contextlib.suppress(ProcessError):
            process.run([compiler, "-I", "-S", "-B", rewriting.__file__, site, output, listed])


def _plugin_modules(site: Path) -> Iterator[Path]:
    for distribution in distributions(path=[str(site)]):
        if any(entry.group == "pytest11" for entry in distribution.entry_points):
            yield from (
                site / file for file in distribution.files or () if file.suffix == ".py" and ".." not in file.parts
            )


def _test_modules(settings: Settings) -> Iterator[Path]:
    """Yield what is named on the command line, and what pytest finds below it; and the conftest files above it."""
    seen: set[Path] = set()
    for start in (*requested_tests(settings),) or settings.test_paths or (settings.root,):
        for path in _below(start, settings.python_files) if start.is_dir() else (start,):
            above = (parent / "conftest.py" for parent in path.parents if parent.is_relative_to(settings.root))
            for module in (path, *above):
                if module not in seen:
                    seen.add(module)
                    if module.suffix == ".py" and module.is_file():
                        yield module


def _below(directory: Path, patterns: Sequence[str]) -> Iterator[Path]:
    end = time.monotonic() + _MAX_SECONDS
    for parent, directories, files in os.walk(directory):
        if time.monotonic() > end:
            return
        directories[:] = sorted(name for name in directories if not name.startswith(".") and name not in _SKIPPED)
        for name in sorted(files):
            path = Path(parent, name)
            if name == "conftest.py" or any(
                fnmatch.fnmatch(str(path) if "/" in pattern else name, pattern) for pattern in patterns
            ):
                yield path


def _bounded(modules: Iterator[Path]) -> Iterator[Path]:
    """Yield modules up to the limits."""
    size = 0
    for number, path in enumerate(modules):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
        if number >= _MAX_FILES or size > _MAX_SIZE:
            return
        yield path
