"""How programs for Windows are started: by :mod:`.runner`, a script of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.wine import paths, runner, system


@dataclass(frozen=True, kw_only=True, slots=True)
class WineLaunch:
    """How programs for Windows are started.

    :param runner: the interpreter and script that start one.
    :param description: the file that describes Wine to the script.
    """

    runner: tuple[str, ...]
    description: Path

    @property
    def launch(self) -> Launch:
        """The same in the form of a launcher."""
        interpreters = paths.whole().arguments()[0]
        return Launch(before=(*self.runner, str(self.description), interpreters), paths=self.paths)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are needed to start a program."""
        return (Path(self.runner[0]), Path(self.runner[-1]), self.description)


def provide(*, offline: bool, bits: int) -> WineLaunch:
    """Return how programs are started; Wine and a pristine prefix are made if need be.

    :param bits: of the programs.
    :raises RuntimeUnavailableError: Wine is not available, or does not work here.
    """
    wine = system.get(offline=offline, bits=bits)
    # Not the interpreter of a virtual environment, which may be gone when a launcher is used.
    python = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    return WineLaunch(runner=(str(python), "-I", "-S", str(Path(runner.__file__))), description=system.describe(wine))
