"""The QEMU backend: runs Linux programs of other architectures, or for other hardware, in QEMU's user-mode emulators.

A launcher starts the emulator with the root file system and, through ``-0 "$0"``, its own path as the program's name.
Native tools make and fill the environments, which would take ten times as long under emulation. Then the launcher becomes
their interpreter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_wheelcheck.backends import environments, executables, illegal_instructions, launcher
from pytest_wheelcheck.backends.base import (
    HOST_MACHINE,
    Capabilities,
    Environment,
    InstallResult,
    MachineProfile,
    Runtime,
    Session,
)
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.backends.local import LocalBackend, LocalSession
from pytest_wheelcheck.backends.qemu import emulators
from pytest_wheelcheck.backends.qemu.machines import PROFILES, Profile
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture, runs_natively
from pytest_wheelcheck.interpreters.base import NativePython, Offer, here
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Machine, Platform
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import process
from pytest_wheelcheck.system.uv_config import InstallSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Emulation:
    """How programs of a runtime are emulated.

    :param emulator: its path.
    :param root: the directory in which the program's absolute paths are searched first: those of its loader, libraries and
        data. ``None`` for a program of this host.
    :param flags: its options for the hardware.
    """

    emulator: Path
    root: Path | None
    flags: tuple[str, ...] = ()

    @property
    def launch(self) -> Launch:
        """The emulator, its options and the root."""
        root = () if self.root is None else ("-L", str(self.root))
        paths = (self.emulator,) if self.root is None else (self.emulator, self.root)
        return Launch(before=(str(self.emulator), *self.flags, *root, "-0"), paths=paths)


class EmulatedSession(LocalSession):
    """The session of an emulated target."""

    def explain_illegal_instruction(self, output: str) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Session`."""
        if self.machine.name == HOST_MACHINE:
            return ""
        profile = PROFILES.get(self.machine.name)
        name = f"{self.machine.name} ({profile.hardware})" if profile else self.machine.name
        return illegal_instructions.explain(output, self.runtime.platform.architecture, name)


@dataclass(frozen=True, kw_only=True, slots=True)
class QemuBackend(LocalBackend):
    """Runs Linux interpreters of the architectures that QEMU emulates.

    :param offline: download no emulator.
    :param apt_source: a repository to download emulators from before the host's, as a line of ``sources.list(5)``.
    """

    name: str = "qemu"
    emulated: bool = True
    category: str = "emulated"

    @property
    def capabilities(self) -> Capabilities:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return Capabilities(native_speed=False)

    def covers(self, platform: Platform) -> bool:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return (
            here().is_linux
            and host_architecture() is not None
            and platform.is_linux
            and platform.architecture in ARCHITECTURES
        )

    def accepts(self, offer: Offer) -> str | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        if not runs_natively(offer.platform.architecture):
            return ", emulated by QEMU"
        if offer.fixed_libc:
            version = f"{offer.libc_version[0]}.{offer.libc_version[1]}"
            return f", emulated by QEMU, because its dynamic loader is that of glibc {version}"
        return None

    def parts(self, platform: Platform, profile: MachineProfile | None = None) -> tuple[Part, ...] | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        if profile is None:
            return emulators.parts(
                ARCHITECTURES[platform.architecture], repository=self._repository(), offline=self.offline
            )
        if not isinstance(profile, Profile):
            return None
        architecture = _emulated_architecture(platform, profile)
        with _for_machine(profile):
            return emulators.parts(
                architecture, accepts=profile.accepts, requirement=profile.needs, offline=self.offline
            )

    def fetch(self, platform: Platform) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        self._emulator(platform)

    def _emulator(self, platform: Platform) -> Path:
        architecture = ARCHITECTURES[platform.architecture]
        return emulators.find(architecture, repository=self._repository(), offline=self.offline).path

    def _repository(self) -> apt.Repository | None:
        return apt.parse_source(self.apt_source) if self.apt_source else None

    def trial_argv(self, *, platform: Platform, root: Path | None, name: Path, program: Path) -> list[str | Path]:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return Emulation(emulator=self._emulator(platform), root=root).launch.argv(name, program)

    def make_ready(self, installation: Installation, native_python: NativePython) -> Runtime:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        emulation = Emulation(emulator=self._emulator(installation.platform), root=installation.root)
        python = native_python(installation.version[:2], installation.free_threaded)
        return self._launched(installation, emulation, python)

    def _launched(
        self, installation: Installation, emulation: Emulation, native_python: Path | None, *, suffix: str = ""
    ) -> Runtime:
        name = f"{installation.name}-{installation.platform.name}{suffix}"
        python = launcher.provision(emulation.launch, installation, name=name)
        return Runtime(installation=installation, python=python, backend=self, native=native_python, launch=emulation)

    def on_machine(self, runtime: Runtime, profile: MachineProfile) -> Runtime | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`: another launcher of the same interpreter."""
        if not isinstance(profile, Profile):
            return None
        architecture = _emulated_architecture(runtime.platform, profile)
        with _for_machine(profile):
            found = emulators.find(
                architecture, accepts=profile.accepts, requirement=profile.needs, offline=self.offline
            )
        # The program of a host's interpreter may be a link, and QEMU loads the file itself.
        installation = runtime.installation if runtime.installation.root else _resolved(runtime.installation)
        installation = replace(installation, how=f"{installation.how}, as {profile.name}")
        emulation = Emulation(emulator=found.path, root=installation.root, flags=profile.flags)
        _try(emulation.launch, installation, profile)
        native_python = runtime.native if runtime.backend.name == self.name else runtime.python
        return self._launched(installation, emulation, native_python, suffix=f"-{profile.name}")

    def create_environment(self, runtime: Runtime, directory: Path) -> Environment:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return environments.create_by_hand(runtime, directory)

    def uv_arguments(self, runtime: Runtime) -> list[str | Path]:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        foreign = _foreign_arguments(runtime)
        return ["--python", runtime.python] if foreign is None else ["--python", runtime.native or "", *foreign]

    def install(
        self,
        runtime: Runtime,
        environment: Environment,
        arguments: Sequence[str | Path],
        settings: InstallSettings,
        *,
        project: Path | None = None,
    ) -> InstallResult:
        """See :class:`pytest_wheelcheck.backends.base.Backend`.

        While uv runs, the environment's interpreter is the native one. uv reads the directories from it, and writes the
        environment's path into console scripts.
        """
        foreign = _foreign_arguments(runtime)
        if foreign is None:
            completed = environments.uv_install(environment.python, arguments, settings, project=project)
        else:
            version = runtime.installation.version_text
            environments.point(environment.root, runtime.native or runtime.python, version)
            try:
                completed = environments.uv_install(
                    environment.python, [*foreign, *arguments], settings, project=project
                )
            finally:
                environments.point(environment.root, runtime.python, version)
            if completed.returncode != 0 and "matching platform" in completed.stderr + completed.stdout:
                # uv's name for the platform may mean an older C library than the runtime has.
                completed = environments.uv_install(environment.python, arguments, settings, project=project)
        extended, missing = self._extend(runtime, environment, settings, [])
        executables.launch_executables(environment, _emulation_of(extended).launch, foreign=True)
        return InstallResult(completed=completed, missing=missing)

    def add_libraries(
        self, runtime: Runtime, environment: Environment, directory: Path, settings: InstallSettings
    ) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return self._extend(runtime, environment, settings, [directory])[1]

    def _extend(
        self, runtime: Runtime, environment: Environment, settings: InstallSettings, further: Sequence[Path]
    ) -> tuple[Runtime, str]:
        def relaunch(installation: Installation) -> Runtime:
            emulation = replace(_emulation_of(runtime), root=installation.root)
            return self._launched(installation, emulation, runtime.native, suffix="-with")

        return environments.extend(runtime, environment, settings, further, relaunch)

    def bytecode_compiler(self, runtime: Runtime) -> Path | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return runtime.native or environments.running_python(runtime.installation)

    def open_session(self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path) -> Session:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return EmulatedSession(runtime, machine, settings, directory, launch_paths=_emulation_of(runtime).launch.paths)


def _emulated_architecture(platform: Platform, profile: Profile) -> Architecture:
    """Return the architecture of a platform whose programs can be emulated on a machine.

    :raises RuntimeUnavailableError: they cannot.
    """
    if profile.impossible:
        raise RuntimeUnavailableError(f"could not be checked: {profile.name} is not available: {profile.impossible}")
    architecture = ARCHITECTURES.get(platform.architecture)
    if architecture is None or not platform.is_linux:
        raise RuntimeUnavailableError(f"could not be checked: {profile.name} is not available for {platform.name}")
    return architecture


@contextlib.contextmanager
def _for_machine(profile: Profile) -> Iterator[None]:
    """Say in an error about the emulator which machine is not available."""
    try:
        yield
    except RuntimeUnavailableError as error:
        raise RuntimeUnavailableError(
            f"could not be checked: {profile.name} is not available: {error.message}",
            cause=error.cause,
            fix=error.fix,
            details=error.details,
        ) from error


def _emulation_of(runtime: Runtime) -> Emulation:
    assert isinstance(runtime.launch, Emulation)  # noqa: S101  made by this backend
    return runtime.launch


def _foreign_arguments(runtime: Runtime) -> list[str | Path] | None:
    """Return uv's arguments for installing for a runtime with its native interpreter; ``None`` if that is impossible."""
    found: list[str | Path] = [*environments.foreign_arguments(runtime.installation)]
    return found if found and runtime.native is not None else None


def _resolved(installation: Installation) -> Installation:
    return replace(installation, program=installation.program.resolve())


def _try(launch: Launch, installation: Installation, profile: Profile) -> None:
    """Check that the interpreter itself runs on the machine. If its launcher exists, it did before.

    :raises RuntimeUnavailableError: it does not run.
    """
    if launcher.present(launch, installation):
        return
    program = installation.program
    try:
        process.run([*launch.argv(program, program), "-I", "-S", "-c", "import _ctypes"], timeout=120)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"could not be checked: python{installation.stem} itself does not run as {profile.name}",
            cause="the interpreter or its C library was built for newer hardware, or QEMU does not have the model",
            details=f"{error.message}\n{error.details}".strip(),
        ) from error
