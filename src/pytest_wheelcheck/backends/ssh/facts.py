"""What a board reports about itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import OLDEST
from pytest_wheelcheck.interpreters.facts import Facts, read_answer

#: Seconds by which a board's clock may differ without a remark.
_CLOCK = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardFacts:
    """Facts about a board.

    :param machine: as ``uname -m`` reports it.
    :param kernel: name and release.
    :param system: the distribution, as in ``/etc/os-release``.
    :param model: of the computer, as the device tree or the firmware names it; may be empty.
    :param cpu: the CPU model.
    :param features: of the CPU, as ``/proc/cpuinfo`` lists them.
    :param cpus: number of CPUs that a process may use.
    :param page_size: bytes.
    :param memory: bytes in all.
    :param memory_free: available bytes.
    :param disk_free: bytes, where files are kept.
    :param directory: where files are kept.
    :param clock: seconds by which its clock is ahead of this host's.
    :param pty: pseudo-terminals can be opened.
    :param interpreters: the supported ones.
    """

    machine: str
    kernel: str
    system: str
    model: str
    cpu: str
    features: tuple[str, ...] = field(repr=False)
    cpus: int
    page_size: int
    memory: int
    memory_free: int
    disk_free: int
    directory: str
    clock: float
    pty: bool
    interpreters: tuple[Facts, ...] = field(repr=False)

    @classmethod
    def read(cls, answer: Mapping[str, Any], directory: str) -> BoardFacts:
        """Read the agent's answer.

        :raises RuntimeUnavailableError: it is not understood.
        """
        try:
            found: dict[Path, Facts] = {}
            for path, output in answer["interpreters"]:
                try:
                    facts = read_answer(Path(path), output)
                except RuntimeUnavailableError:
                    # It does not run, as a broken link or one for another architecture.
                    continue
                if facts.version[:2] >= OLDEST:
                    found[facts.python] = facts
            return cls(
                machine=_text(answer["machine"]),
                kernel=_text(answer["kernel"]),
                system=_text(answer["system"]),
                model=_text(answer["model"]),
                cpu=_text(answer["cpu"]),
                cpus=int(answer["cpus"]),
                page_size=int(answer["page_size"]),
                memory=int(answer["memory"]),
                memory_free=int(answer["memory_free"]),
                disk_free=int(answer["disk_free"]),
                features=tuple(map(_text, answer["features"])),
                directory=directory,
                clock=float(answer["time"]) - time.time(),
                pty=bool(answer["pty"]),
                interpreters=tuple(found.values()),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RuntimeUnavailableError(f"the board's facts are not understood: {error!r}") from error

    @property
    def libc(self) -> str:
        """Name and version of the C library, as its interpreters report it."""
        names = {f"{facts.libc} {'.'.join(map(str, facts.libc_version))}" for facts in self.interpreters if facts.libc}
        return ", ".join(sorted(names))

    def described(self) -> tuple[tuple[str, str], ...]:
        """Return the facts in words, each with its name, for header, reports and ``wheelcheck board``."""
        known = {
            "model": self.model,
            "architecture": self.machine,
            "CPU": f"{self.cpus} x {self.cpu}",
            "system": self.system,
            "C library": self.libc,
            "kernel": self.kernel,
            "page size": f"{self.page_size // 1024} KiB",
            "memory": f"{self.memory / 1e9:.1f} GB, {self.memory_free / 1e9:.1f} GB available",
            "free disk": f"{self.disk_free / 1e9:.1f} GB in {self.directory}",
            "pseudo-terminals": "yes" if self.pty else "no",
            "interpreters": ", ".join(
                f"{facts.implementation} {'.'.join(map(str, facts.version))}" for facts in self.interpreters
            )
            or "none that is supported",
        }
        if abs(self.clock) > _CLOCK:
            known["clock"] = f"{abs(self.clock) / 86400:.1f} days {'ahead' if self.clock > 0 else 'behind'}"
        return tuple((name, value) for name, value in known.items() if value)


def _text(value: object) -> str:
    """Return a text of the board for a terminal: without control characters, and not too long."""
    return "".join(char for char in str(value)[:200] if char.isprintable())
