"""Whether memory is scarce, on Linux. Other systems are taken to have enough."""

from __future__ import annotations

from pathlib import Path

#: The part of the memory below which it is scarce.
SCARCE = 0.1


def is_scarce(root: Path = Path("/")) -> bool:
    """Return whether little of the memory is left that this process may use.

    :param root: of the file system with ``/proc`` and ``/sys``.
    """
    shares = (_share_of_host(root / "proc/meminfo"), _share_of_group(root / "sys/fs/cgroup"))
    return min(shares) < SCARCE


def _share_of_host(file: Path) -> float:
    values = _values(file)
    total, available = values.get("MemTotal:"), values.get("MemAvailable:")
    return available / total if total and available is not None else 1.0


def _share_of_group(directory: Path) -> float:
    """Return the part that is left of the limit of a container, whose control group is the root of those that it sees."""
    try:
        # The word "max" where there is no limit.
        limit = int((directory / "memory.max").read_text(encoding="ascii"))
        used = int((directory / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1.0
    # Files that the kernel drops when memory is needed.
    used -= _values(directory / "memory.stat").get("inactive_file", 0)
    return 1 - used / limit if limit else 1.0


def _values(file: Path) -> dict[str, int]:
    """Return the numbers of a file that has a name and a number in each line."""
    try:
        words = [line.split() for line in file.read_text(encoding="ascii", errors="replace").splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdecimal()}
