"""Progress messages about files that are downloaded or made on first use: which, how large, how long it took.

The messages go to a logger of their own, :data:`log`. The pytest plugin and the ``wheelcheck`` command print them with
:func:`log_to`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pytest_wheelcheck.system import directories

#: Receives every progress message at level ``INFO``.
log = logging.getLogger("pytest_wheelcheck.progress")


@contextlib.contextmanager
def step(name: str, directory: Path, action: str = "fetching") -> Iterator[None]:
    """Log that something is being made, and afterwards its size and the time it took.

    :param name: what is made, such as ``CPython 3.11 for aarch64``.
    :param directory: where it is made.
    :param action: the verb that the message shows.
    """
    log.info("%s: %s (once; cached for later runs)", name, action)
    start = time.monotonic()
    yield
    size = directories.size(directory) // 1_000_000
    log.info("%s: ready, %d MB in %.1f s", name, size, time.monotonic() - start)


@contextlib.contextmanager
def log_to(stream: TextIO | None = None) -> Iterator[None]:
    """Print progress messages to a stream for the duration of the context.

    :param stream: ``None`` for standard error.
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
