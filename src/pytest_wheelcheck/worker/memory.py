"""Notices that the kernel has killed a process because memory was short."""

from __future__ import annotations

#: The line that is added to the output of such a process.
OUT_OF_MEMORY = "wheelcheck: memory ran out, and the kernel killed the process"


def oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory (proc(5), /proc/vmstat); 0 where it does not say."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0
