"""The sandbox (``--wheel-sandbox``): what a process in a target can access.

It can read all files, but write only to the target's own directory, a private ``/tmp`` and ``/dev``. It has a network with a
loopback only, and sees no other processes, and no sockets of services in ``/run``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.temporary import LONG_OUTPUT

#: Directories that are empty in the sandbox. Each is a file system of its own in memory.
_PRIVATE = (Path("/tmp"), Path("/var/tmp"), Path("/run"))  # noqa: S108  they are replaced

#: Also empty in the sandbox, which has a ``/dev`` of its own.
_EMPTY = (*_PRIVATE, Path("/dev/shm"))  # noqa: S108


def argv(
    settings: Settings,
    runtime: Runtime,
    paths: tuple[Path, ...],
    directory: Path,
    *,
    cwd: Path,
    supervised: bool,
    temporary: Path | None,
) -> tuple[str, ...]:
    """Return the arguments before the argv of a program that run it in the sandbox; none if it was not requested.

    :param paths: files and directories that the backend needs to start a program.
    :param directory: the target's own directory, which is writable.
    :param cwd: the program's working directory.
    :param supervised: the program ends the processes that it leaves running, and must be the first one in the sandbox.
    :param temporary: its directory for temporary files, inside *directory*; ``None`` for the private ``/tmp``.
    """
    if not settings.sandbox:
        return ()
    output = directory.parent / LONG_OUTPUT
    output.mkdir(exist_ok=True)
    needed = {path.resolve() for path in (*_needed(settings, runtime, cwd), *paths)}
    bound = [
        argument
        for path in sorted(path for path in needed if _hidden(path))
        for argument in ("--ro-bind", str(path), str(path))
    ]
    return (
        *settings.sandbox,
        *bubblewrap.ISOLATED,
        *(argument for path in _PRIVATE if path.is_dir() for argument in ("--tmpfs", str(path))),
        *bound,
        *(argument for path in (directory, output) for argument in ("--bind", str(path), str(path))),
        *("--chdir", str(cwd), "--setenv", "TMPDIR", str(temporary or "/tmp")),  # noqa: S108  the sandbox's own
        *(("--as-pid-1",) if supervised else ()),
        "--",
    )


def _hidden(path: Path) -> bool:
    return path.exists() and any(path != empty and path.is_relative_to(empty) for empty in _EMPTY)


def _needed(settings: Settings, runtime: Runtime, cwd: Path) -> Iterator[Path]:
    """Yield the paths that must exist in the sandbox: home, source tree, tests, cache, interpreter."""
    yield from (settings.root, settings.cwd, cwd)
    with contextlib.suppress(RuntimeError):  # the user has no home directory
        yield Path.home()
    yield from requested_tests(settings)
    if cache.root().is_dir():
        yield cache.root()
    for python in (runtime.python, runtime.native):
        if python is not None:
            yield from (python.parent.parent, python.resolve().parent.parent)


def requested_tests(settings: Settings) -> Iterator[Path]:
    """Yield the paths of tests on the command line."""
    for argument in settings.target_args:
        # An option and its value are one argument.
        if len(argument.argv) == 1 and not argument.argv[0].startswith("-"):
            path = settings.cwd / argument.argv[0].partition("::")[0]
            if path.exists():
                yield path
