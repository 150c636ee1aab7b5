"""Runs programs and measures them: their time, and the memory of a process and of all that it starts."""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two samples of the memory of all processes.
_INTERVAL = 0.2

#: Lines of the output of a failed program that are shown.
_SHOWN = 30


class MeasurementError(Exception):
    """A program that was to be measured failed, or something that it needs is missing."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a program used.

    :param seconds: of wall-clock time.
    :param processor: seconds of processor time, user and system, of the process and of all its descendants that were waited
        for; ``None`` if the figure is that of a part of a run, or computed.
    :param controller: maximum resident memory of the process itself, in MB.
    :param tree: maximum of the memory of the process and all its descendants, in MB; shared pages count once.
    """

    seconds: float
    processor: float | None = None
    controller: float = 0.0
    tree: float = 0.0


def run(
    argv: Sequence[str | Path],
    cwd: Path,
    *,
    env: dict[str, str] | None = None,
    statuses: Iterable[int] = (0,),
    memory: bool = False,
) -> Usage:
    """Run a program once.

    :param env: further environment variables.
    :param statuses: exit statuses that are not errors.
    :param memory: measure memory, too (Linux).
    :raises MeasurementError: another exit status.
    """
    # What the caller's environment says about pytest and bytecode is not measured.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "TOX"))}
    controller = tree = 0
    with tempfile.TemporaryFile() as output:
        before, start = _of_children(), time.perf_counter()
        with subprocess.Popen(
            argv, cwd=cwd, env={**inherited, **(env or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process:
            while True:
                try:
                    status = process.wait(_INTERVAL if memory else None)
                    break
                except subprocess.TimeoutExpired:
                    controller = max(controller, _kibibytes(process.pid, "status", "VmHWM"))
                    tree = max(tree, sum(_kibibytes(pid, "smaps_rollup", "Pss") for pid in family(process.pid)))
        seconds, processor = time.perf_counter() - start, _of_children() - before
        if status not in statuses:
            output.seek(0)
            text = output.read().decode("utf-8", "replace").splitlines()[-_SHOWN:]
            raise MeasurementError("\n".join([f"exit status {status} of {' '.join(map(str, argv))}", *text]))
    # The last sample of all processes may be older than that of the maximum.
    return Usage(seconds=seconds, processor=processor, controller=controller / 1024, tree=max(controller, tree) / 1024)


def _of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def family(pid: int) -> list[int]:
    """Return the process ids of a process and of its living descendants (Linux)."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):
            continue  # It has ended.
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def _kibibytes(pid: int, file: str, field: str) -> int:
    try:
        text = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    lines = [line for line in text.splitlines() if line.startswith(f"{field}:")]
    return int(lines[0].split()[1]) if lines else 0


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return how a value grows between the last two sizes: 1 is linear, 0 constant, 2 quadratic."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])
