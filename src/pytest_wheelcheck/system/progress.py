"""Progress messages about files that are downloaded or made on first use: which, how large, how long it took.

The messages go to a logger of their own, :data:`log`. The pytest plugin and the ``wheelcheck`` command print them with
:func:`log_to`.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from pytest_wheelcheck.system import directories
from pytest_wheelcheck.system.sizes import show_size

#: Receives every progress message at level ``INFO``.
log = logging.getLogger("pytest_wheelcheck.progress")


#: The step that each thread is at, its attribute ``name``.
_current = threading.local()

#: Seconds between two lines about a step that takes long.
_PERIOD = 1.0


@contextlib.contextmanager
def step(name: str, directory: Path, action: str = "fetching", *, size: int | None = None) -> Iterator[None]:
    """Log that something is being made, and afterwards its size and the time it took.

    :param name: what is made, such as ``CPython 3.11 for aarch64``.
    :param directory: where it is made.
    :param action: the verb that the message shows.
    :param size: bytes to download; ``None`` if that is not known before.
    """
    _announce()
    log.info("%s: %s%s (once; cached for later runs)", name, action, f" {show_size(size)}" if size else "")
    start = time.monotonic()
    outer = getattr(_current, "name", "")
    _current.name = name

    def show_size_so_far() -> None:
        seconds = time.monotonic() - start
        if _show_line and not _receiving and seconds > _SLOW:
            _show(f"{name}: {action}, {directories.size(directory) / 1e6:.0f} MB after {seconds:.0f} s")

    try:
        with _repeated(show_size_so_far, _PERIOD, "step"):
            yield
    finally:
        _current.name = outer
    made = directories.size(directory) // 1_000_000
    log.info("%s: ready, %d MB in %.1f s", name, made, time.monotonic() - start)


@contextlib.contextmanager
def _repeated(action: Callable[[], None], seconds: float, name: str) -> Iterator[None]:
    """Call a function again and again in another thread, for the duration of the context.

    :param seconds: before the first call, and between two calls.
    :param name: of the thread, without its prefix.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, name=f"wheelcheck-{name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


#: What is told before the first file is fetched. Process-wide, because several threads fetch.
_announced: list[str] = []
_announce_lock = threading.Lock()


@contextlib.contextmanager
def announced(lines: Iterable[str]) -> Iterator[None]:
    """Log lines before the first file that is fetched in the context; none of them if nothing is fetched."""
    with _announce_lock:
        _announced[:] = lines
    try:
        yield
    finally:
        with _announce_lock:
            _announced.clear()


def _announce() -> None:
    with _announce_lock:
        for line in _announced:
            log.info("%s", line)
        _announced.clear()


#: Seconds after which a question is announced, and the announcements that were made. Process-wide, as above.
_SLOW = 2.0
_told: set[str] = set()


@contextlib.contextmanager
def asking(line: str) -> Iterator[None]:
    """Log a line if the context takes long; each line once.

    :param line: what is asked.
    """

    def tell() -> None:
        with _announce_lock:
            new = line not in _told
            _told.add(line)
        if new:
            log.info("%s", line)

    timer = threading.Timer(_SLOW, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


#: Seconds between two messages about a step that does not end.
_LONG = 30.0


@contextlib.contextmanager
def taking_long(describe: Callable[[float], str]) -> Iterator[None]:
    """Log now and then what a step waits for, if it does not end soon.

    :param describe: returns the line; gets the seconds since the step began.
    """
    start = time.monotonic()
    with _repeated(lambda: log.info("%s", describe(time.monotonic() - start)), _LONG, "long"):
        yield


#: Bytes above which the sending of files is shown, and seconds between two updates of its line.
_SHOWN_SIZE, _UPDATE = 2_000_000, 0.2

#: Shows a line on the terminal and replaces the last one. Process-wide, because files are sent by several threads.
_show_line: list[Callable[[str], None]] = []
_show_lock = threading.Lock()

#: What is downloaded with a line of its own. Process-wide, as above.
_receiving: list[str] = []

#: Whether the terminal shows such a line, which a message must not continue.
_is_line_open = False


@contextlib.contextmanager
def lines_to(show: Callable[[str], None] | None) -> Iterator[None]:
    """Show how much of large files was sent, for the duration of the context.

    :param show: shows a line and replaces the last one; ``None`` where the output is no terminal.
    """
    if show is not None:
        _show_line.append(show)
    try:
        yield
    finally:
        if show is not None:
            _show_line.remove(show)


@contextlib.contextmanager
def sending(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how much of some files was sent.

    :param name: such as ``sending files to pi@kitchen``.
    :param total: bytes.
    :returns: a function that takes the number of bytes of each part that was sent.
    """
    done, shown = 0, time.monotonic()

    def report(count: int) -> None:
        nonlocal done, shown
        done += count
        if total >= _SHOWN_SIZE and time.monotonic() - shown >= _UPDATE:
            shown = time.monotonic()
            filled = min(24, 24 * done // total)
            _show(f"{name}: [{'#' * filled}{'.' * (24 - filled)}] {done / 1e6:.1f} of {total / 1e6:.1f} MB")

    yield report


def _show(line: str) -> None:
    global _is_line_open  # noqa: PLW0603  of the process, as the terminal is
    with _show_lock:
        for show in _show_line:
            show(line)
            _is_line_open = True


@contextlib.contextmanager
def receiving(name: str, directory: Path, total: int) -> Iterator[None]:
    """Show how much was downloaded into a directory.

    :param name: such as ``downloading rpds-py 0.30.0``.
    :param total: bytes.
    """
    _receiving.append(name)
    done = 0
    with sending(name, total) as report:

        def measure() -> None:
            nonlocal done
            now = directories.size(directory)
            report(now - done)
            done = now

        try:
            with _repeated(measure, _UPDATE, "download"):
                yield
        finally:
            _receiving.remove(name)


class _Handler(logging.StreamHandler[TextIO]):
    """Begins a new line if the terminal shows one that is replaced again and again."""

    def emit(self, record: logging.LogRecord) -> None:
        global _is_line_open  # noqa: PLW0603  see _show
        with _show_lock:
            if _is_line_open and self.stream.isatty():
                self.stream.write("\n")
            _is_line_open = False
        super().emit(record)


@contextlib.contextmanager
def downloading(what: str, directory: Path, total: int) -> Iterator[None]:
    """Log how much is downloaded for the step of this thread, and show how far it is.

    :param what: such as ``3 packages, 12.5 MB``.
    :param directory: receives the files.
    :param total: bytes.
    """
    name = getattr(_current, "name", "")
    log.info("%s: downloading %s", name, what) if name else log.info("downloading %s", what)
    with receiving(f"downloading {what}{f' for {name}' if name else ''}", directory, total):
        yield


@contextlib.contextmanager
def on_standard_error() -> Iterator[None]:
    """Print progress messages and, on a terminal, the line that is replaced: for commands that have no terminal reporter."""
    with log_to(), lines_to(_rewrite if sys.stderr.isatty() else None):
        yield


def _rewrite(line: str) -> None:
    """Show a line on standard error and replace the last one."""
    width = shutil.get_terminal_size().columns
    sys.stderr.write(f"\r{line[: width - 1]:{width - 1}}")
    sys.stderr.flush()


class _FunctionHandler(logging.Handler):
    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(self.format(record))


@contextlib.contextmanager
def shown_by(show: Callable[[str], None]) -> Iterator[None]:
    """Show progress messages with a function for the duration of the context: what a process prints may be captured."""
    with _handled_by(_FunctionHandler(show)):
        yield


@contextlib.contextmanager
def log_to(stream: TextIO | None = None) -> Iterator[None]:
    """Print progress messages to a stream for the duration of the context.

    :param stream: ``None`` for standard error.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setLevel(logging.INFO)
    with _handled_by(handler):
        yield


@contextlib.contextmanager
def _handled_by(handler: logging.Handler) -> Iterator[None]:
    handler.setFormatter(logging.Formatter("wheelcheck: %(message)s"))
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
