"""Telling people what is fetched or made on first use: what, how much, how long.

The lines go to a logger of their own, :data:`log`; a face of the program shows them (see :func:`log_to`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

#: Every line of progress, at level ``INFO``.
log = logging.getLogger("pytest_wheelcheck.progress")


@contextlib.contextmanager
def step(what: str, folder: Path, doing: str = "fetching") -> Iterator[None]:
    """Tell that something is being made, and at its end how large it is and how long it took.

    :param what: such as ``CPython 3.11 for aarch64``.
    :param folder: where it is made.
    :param doing: what is done, for people.
    """
    log.info("%s: %s (once; it is kept for later runs)", what, doing)
    start = time.monotonic()
    yield
    log.info("%s: ready, %d MB in %.1f s", what, directory_size(folder) // 1_000_000, time.monotonic() - start)


def directory_size(folder: Path) -> int:
    """Tell how many bytes the files of a folder hold."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total


@contextlib.contextmanager
def log_to(stream: TextIO | None = None) -> Iterator[None]:
    """Write the lines of progress to a stream while this context lasts.

    :param stream: standard error, unless told otherwise.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(logging.Formatter("wheelcheck: %(message)s"))
    handler.setLevel(logging.INFO)
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
