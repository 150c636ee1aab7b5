"""The sandbox (``--wheel-sandbox``): what a process in a target may reach.

Everything can be read as it lies; nothing can be written but the target's own folder, a private ``/tmp`` and ``/dev``.
There is no network but a loopback of its own, no process but its own, and no socket of a service below ``/run``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pytest_wheelcheck.backends import bubblewrap
from pytest_wheelcheck.backends.wine import paths
from pytest_wheelcheck.backends.wine.paths import Drives
from pytest_wheelcheck.model import Runtime
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import cache

#: Folders that are empty inside, each with a file system of its own in memory.
_PRIVATE = (Path("/tmp"), Path("/var/tmp"), Path("/run"))  # noqa: S108  what is put in their place

#: Beside the folders of the targets: what a report has no room for.
OUTPUT = "output"


def words(
    settings: Settings, runtime: Runtime, folder: Path, *, cwd: Path, keeper: bool, temporary: Path | None = None
) -> tuple[str, ...]:
    """Give the words that put a program into the sandbox; none where it was not asked for.

    :param folder: the target's own, which can be written.
    :param cwd: the program's working directory.
    :param keeper: the program looks after its own processes, and is the first one in there.
    :param temporary: its folder for temporary files, below *folder*; ``None`` for the private ``/tmp``.
    """
    if not settings.sandbox:
        return ()
    output = folder.parent / OUTPUT
    output.mkdir(exist_ok=True)
    bound = [
        word
        for path in sorted({path.resolve() for path in _needed(settings, runtime, cwd) if _hidden(path.resolve())})
        for word in ("--ro-bind", str(path), str(path))
    ]
    return (
        *settings.sandbox,
        *bubblewrap.ISOLATED,
        *(word for path in _PRIVATE if path.is_dir() for word in ("--tmpfs", str(path))),
        *bound,
        *(word for path in (folder, output) for word in ("--bind", str(path), str(path))),
        *("--chdir", str(cwd), "--setenv", "TMPDIR", str(temporary or "/tmp")),  # noqa: S108  the sandbox's own
        *(("--as-pid-1",) if keeper else ()),
        "--",
    )


def _hidden(path: Path) -> bool:
    return any(path != private and path.is_relative_to(private) for private in _PRIVATE)


def _needed(settings: Settings, runtime: Runtime, cwd: Path) -> Iterator[Path]:
    """Name what must be found inside, wherever it lies: home, source tree, tests, cache, interpreter."""
    yield from (settings.root, settings.cwd, cwd)
    with contextlib.suppress(RuntimeError):  # nobody's
        yield Path.home()
    yield from _named(settings)
    if cache.root().is_dir():
        yield cache.root()
    for python in (runtime.python, runtime.native):
        if python is not None:
            yield from (python.parent.parent, python.resolve().parent.parent)
    for part in (part for half in runtime.launch for word in half for part in word.split(os.pathsep)):
        if part.startswith("/") and Path(part).exists():
            yield Path(part)


def _named(settings: Settings) -> Iterator[Path]:
    """Name the tests that were asked for."""
    words = [word.partition("::")[0] for several, _ in settings.occurrences for word in several if len(several) == 1]
    yield from (path for word in words if not word.startswith("-") and (path := settings.cwd / word).exists())


def drives(settings: Settings, runtime: Runtime, folder: Path) -> Drives | None:
    """Tell what a target under Wine finds on which drive; ``None`` for other runtimes.

    The project is all of its repository: tests may want what lies beside the folder of the wheel's sources.

    :param folder: the target's own.
    """
    if not runtime.under:
        return None
    if settings.sandbox:
        return paths.whole()
    tests = [path if path.is_dir() else path.parent for path in _named(settings)]
    return paths.limited(folder.parent, [_repository(settings.root), *tests], settings.cwd)


def _repository(root: Path) -> Path:
    """Find the working copy that a folder is part of; the folder itself where that is none, or somebody's home."""
    with contextlib.suppress(RuntimeError):
        home = Path.home()
        for path in (root, *root.parents):
            if path in (home, path.parent):
                break
            if any((path / name).exists() for name in (".git", ".hg", ".jj", ".svn")):
                return path
    return root
