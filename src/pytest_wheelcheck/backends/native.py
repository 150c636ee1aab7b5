"""The native backend: the host's kernel and processor run the program, directly or through its root's dynamic loader."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends import environments, executables, launcher
from pytest_wheelcheck.backends.base import (
    NATIVE,
    Capabilities,
    Environment,
    InstallResult,
    Runtime,
    Session,
)
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.local import LocalBackend, LocalSession
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, runs_natively
from pytest_wheelcheck.interpreters.base import LOADER_WITH_ARGV0, NativePython, Offer, here
from pytest_wheelcheck.model import Installation, Machine, Platform
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system.uv_config import InstallSettings

#: The first build of Windows with pseudo consoles: ``CreatePseudoConsole`` in Microsoft's documentation.
_CONSOLES_SINCE = 17763


def _has_consoles() -> bool:
    version: Any = getattr(sys, "getwindowsversion", None)
    return version is None or version().build >= _CONSOLES_SINCE


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeBackend(LocalBackend):
    """Runs interpreters of this host's architecture. It fetches nothing, so its parameters have no effect."""

    name: str = NATIVE
    emulated: bool = False
    category: str = "native"

    @property
    def capabilities(self) -> Capabilities:
        """See :class:`.base.Backend`."""
        windows = here().is_windows
        # The sandbox is made of user namespaces, which macOS and Windows do not have. The system libraries of macOS do not
        # survive a fork.
        return Capabilities(
            fork=here().is_linux,
            pty=not windows,
            consoles=not windows or _has_consoles(),
            signals=not windows,
            sandbox=here().is_linux,
        )

    def covers(self, platform: Platform) -> bool:
        """See :class:`.base.Backend`."""
        return platform.system == here().system

    def accepts(self, offer: Offer) -> str | None:
        """See :class:`.base.Backend`."""
        if offer.platform.is_linux and not (offer.runs_here or runs_natively(offer.platform.architecture)):
            return None
        if offer.fixed_libc and offer.platform.libc == "glibc" and offer.libc_version < LOADER_WITH_ARGV0:
            # Its loader cannot pass on the path of the launcher.
            return None
        return ""

    def trial_argv(self, *, platform: Platform, root: Path | None, name: Path, program: Path) -> list[str | Path]:
        """See :class:`.base.Backend`."""
        if root is None:
            return [program]
        return launcher.loaded(root, ARCHITECTURES[platform.architecture]).argv(name, program)

    def minimum_libc(self, platform: Platform) -> tuple[int, int]:
        """See :class:`.base.Backend`."""
        return LOADER_WITH_ARGV0 if platform.libc == "glibc" else (0, 0)

    def make_ready(self, installation: Installation, native_python: NativePython) -> Runtime:  # noqa: ARG002
        """See :class:`.base.Backend`."""
        if installation.root is None:
            return Runtime(installation=installation, python=installation.program, backend=self)
        return self._launched(installation)

    def _launched(self, installation: Installation, *, suffix: str = "") -> Runtime:
        assert installation.root is not None  # noqa: S101  seen by the callers
        launch = launcher.loaded(installation.root, ARCHITECTURES[installation.platform.architecture])
        name = f"{installation.name}-{installation.platform.name}{suffix}"
        python = launcher.provision(launch, installation, name=name)
        return Runtime(installation=installation, python=python, backend=self, launch=launch)

    def create_environment(self, runtime: Runtime, directory: Path) -> Environment:
        """See :class:`.base.Backend`."""
        return environments.create_with_virtualenv(runtime, directory)

    def uv_arguments(self, runtime: Runtime) -> list[str | Path]:
        """See :class:`.base.Backend`."""
        return ["--python", runtime.python]

    def install(
        self,
        runtime: Runtime,
        environment: Environment,
        arguments: Sequence[str | Path],
        settings: InstallSettings,
        *,
        project: Path | None = None,
    ) -> InstallResult:
        """See :class:`.base.Backend`."""
        completed = environments.uv_install(environment.python, arguments, settings, project=project)
        extended, missing = self._extend(runtime, environment, settings, [])
        if launch := _executables_launch(extended):
            executables.launch_executables(environment, launch, foreign=False)
        return InstallResult(completed=completed, missing=missing)

    def add_libraries(
        self, runtime: Runtime, environment: Environment, directory: Path, settings: InstallSettings
    ) -> str:
        """See :class:`.base.Backend`."""
        return self._extend(runtime, environment, settings, [directory])[1]

    def _extend(
        self, runtime: Runtime, environment: Environment, settings: InstallSettings, further: Sequence[Path]
    ) -> tuple[Runtime, str]:
        if not isinstance(runtime.launch, Launch):
            return runtime, ""
        return environments.extend(
            runtime,
            environment,
            settings,
            further,
            lambda installation: self._launched(installation, suffix="-with"),
        )

    def bytecode_compiler(self, runtime: Runtime) -> Path | None:
        """See :class:`.base.Backend`."""
        return runtime.python

    def open_session(self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path) -> Session:
        """See :class:`.base.Backend`."""
        paths = runtime.launch.paths if isinstance(runtime.launch, Launch) else ()
        return LocalSession(runtime, machine, settings, directory, launch_paths=paths)


def _executables_launch(runtime: Runtime) -> Launch | None:
    """Return how installed executables are started; ``None`` if the host's kernel starts them.

    The program of an assembled interpreter for musl names its own dynamic loader. The executables of wheels name the usual
    path, which does not exist on a host with glibc.
    """
    if isinstance(runtime.launch, Launch):
        return runtime.launch
    platform, library = runtime.platform, runtime.installation.library
    if platform.libc == "musl" != here().libc and any(library.glob("ld-musl-*.so.1")):
        return launcher.loaded(library.parent, ARCHITECTURES[platform.architecture], [library])
    return None
