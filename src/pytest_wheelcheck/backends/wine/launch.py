"""How programs for Windows are started: by :mod:`.runner`, a script."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.wine import paths, prefix, provide, runner
from pytest_wheelcheck.backends.wine.redistributables import C_LIBRARY, CPP_RUNTIME
from pytest_wheelcheck.interpreters.published.pinned import PackageIndex


@dataclass(frozen=True, kw_only=True, slots=True)
class WineLaunch:
    """How programs for Windows are started.

    :param runner: argv of the script that starts one.
    :param description: the file that describes Wine to the script.
    """

    runner: tuple[str, ...]
    description: Path

    @property
    def launch(self) -> Launch:
        """The same in the form of a launcher."""
        interpreters = paths.all_drives().arguments()[0]
        return Launch(before=(*self.runner, str(self.description), interpreters), paths=self.paths)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are needed to start a program."""
        return (Path(self.runner[0]), Path(self.runner[-1]), self.description)

    def trial_argv(self, name: Path, program: Path) -> list[str | Path]:
        """Return the argv that starts a program whose output shows why it failed; its arguments follow.

        :param name: the path by which it is started.
        """
        return ["env", f"{runner.DIAGNOSE}=1", *self.launch.argv(name, program)]


def provision(*, offline: bool, bits: int, index: PackageIndex, cpp_runtime: bool = False) -> WineLaunch:
    """Return how programs are started; Wine, the C library and a pristine prefix are made if necessary.

    :param bits: number of bits of the programs.
    :param index: has the libraries of Microsoft.
    :param cpp_runtime: the prefix has the runtime of Visual C++.
    :raises RuntimeUnavailableError: Wine or a library is not available, or Wine does not work here.
    """
    wine = provide.get(offline=offline, bits=bits)
    c_libraries = C_LIBRARY.get(offline=offline, index=index, bits=bits)
    python = base_python().resolve()
    description = prefix.provision(wine, c_libraries)
    if cpp_runtime:
        runtimes = CPP_RUNTIME.get(offline=offline, index=index, bits=bits)
        description = prefix.provision_with(description, runtimes)
    return WineLaunch(runner=(str(python), "-I", "-S", runner.__file__), description=description)


def base_python() -> Path:
    """Return the running interpreter, or the one that its virtual environment was made from.

    A virtual environment may be removed while launchers in the cache name its interpreter.
    """
    return Path(getattr(sys, "_base_executable", None) or sys.executable)
