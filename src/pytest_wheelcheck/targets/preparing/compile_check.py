"""Compiles the Python files of a wheel with an interpreter of the host, while the target imports the wheel."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget
from pytest_wheelcheck.worker import compiling, messages

#: Seconds that it may take.
_DEADLINE = 600.0

#: The errors; ``None`` if the target has to compile the files itself.
Errors = list[messages.SyntaxProblem] | None


def begin(pool: ThreadPoolExecutor, installed: InstalledTarget, sources: Sequence[str]) -> Future[Errors] | None:
    """Begin to compile files with the target's version of Python, at the speed of the host.

    The host does not compile where code of others must stay in the sandbox: a file may be made to crash the compiler.

    :param sources: relative to the site-packages directories.
    :returns: the result to come; ``None`` if the target has to compile the files itself.
    """
    runtime = installed.target.runtime
    # On Windows, a process costs more than it saves here.
    if not sources or installed.settings.sandbox or sys.platform == "win32":
        return None
    compiler = runtime.backend.bytecode_compiler(runtime)
    return None if compiler is None else pool.submit(_compile, compiler, installed, sources)


def _compile(compiler: Path, installed: InstalledTarget, sources: Sequence[str]) -> Errors:
    listed = installed.directory / "sources"
    try:
        with listed.open("wb") as file:
            for name in sources:
                paths = (Path(site, name) for site in installed.environment.site_directories)
                if path := next(filter(Path.is_file, paths), None):
                    file.write(b"%s\0%s\0" % (os.fsencode(name), os.fsencode(path)))
        program: list[str | Path] = [compiler, "-I", "-S", "-B", compiling.__file__, listed]
        output = process.run(program, timeout=_DEADLINE).stdout
        return cast("list[messages.SyntaxProblem]", json.loads(output))
    except (OSError, ValueError, ProcessError):
        # The target says what is wrong.
        return None
