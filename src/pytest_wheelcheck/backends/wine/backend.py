"""The Wine backend: programs for Windows on x86-64 Linux."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.backends import environments, launcher
from pytest_wheelcheck.backends.base import Capabilities, Environment, InstallResult, MachineProfile, Runtime, Session
from pytest_wheelcheck.backends.local import LocalBackend
from pytest_wheelcheck.backends.wine import launch as wine_launch
from pytest_wheelcheck.backends.wine import paths, provide, venv
from pytest_wheelcheck.backends.wine.launch import WineLaunch
from pytest_wheelcheck.backends.wine.redistributables import C_LIBRARY, CPP_RUNTIME, Redistributable
from pytest_wheelcheck.backends.wine.session import WineSession
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.architectures import runs_natively
from pytest_wheelcheck.interpreters.base import NativePython, Offer, Unavailable, here
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.windows.platforms import BITS, cache_name
from pytest_wheelcheck.model import Installation, Machine, Platform
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system.uv_config import InstallSettings

#: The check that reports libraries which a fresh Windows lacks. Who ignores it by its code says that users install them.
_CPP_RUNTIME_CHECK = "WHL503"


@dataclass(frozen=True, kw_only=True, slots=True)
class WineBackend(LocalBackend):
    """Runs CPythons for Windows under Wine.

    :param offline: fetch nothing.
    :param apt_source: has no effect: packages of Wine come from the host's own archive.
    :param index: has the libraries of Microsoft.
    """

    name: str = "wine"
    emulated: bool = False
    category: str = "emulated"
    note: str = (
        "a passed run under Wine is strong evidence, but not Windows itself: the kernel and system libraries are Wine's, "
        "the C library is Microsoft's"
    )

    @property
    def _cpp_runtime(self) -> bool:
        """Whether users install the runtime of Visual C++ themselves: a wheel may use it without bringing it."""
        return _CPP_RUNTIME_CHECK in self.ignored

    @property
    def _libraries(self) -> tuple[Redistributable, ...]:
        return (C_LIBRARY, CPP_RUNTIME) if self._cpp_runtime else (C_LIBRARY,)

    @property
    def machine(self) -> Machine:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return Machine(name="wine")

    @property
    def capabilities(self) -> Capabilities:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return Capabilities(fork=False, pty=False, consoles=False, signals=False, side_by_side=False)

    def covers(self, platform: Platform) -> bool:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return here().is_linux and platform.is_windows

    def unavailable(self, platform: Platform) -> Unavailable | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        if platform.architecture not in BITS:
            return Unavailable(reason=f"Wine runs programs for x86-64 and x86 only, not for {platform.architecture}")
        if not runs_natively("x86_64"):
            return Unavailable(reason="Wine is supported on x86-64 hosts only")
        bits = BITS[platform.architecture]
        libraries = self._libraries
        reasons = [provide.unavailable_reason(offline=self.offline, bits=bits)]
        reasons += [library.unavailable_reason(offline=self.offline, bits=bits) for library in libraries]
        reason = next(filter(None, reasons), "")
        if not reason:
            return None
        # Without --wheel-offline it might be there.
        permanent = not self.offline or bool(provide.unavailable_reason(offline=False, bits=bits))
        return Unavailable(reason=reason, unchecked=not permanent)

    def accepts(self, offer: Offer) -> str | None:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        runtime = f" and, because {_CPP_RUNTIME_CHECK} is ignored, its runtime of Visual C++"
        return f", under Wine with Microsoft's C library{runtime if self._cpp_runtime else ''}"

    def parts(self, platform: Platform, profile: MachineProfile | None = None) -> tuple[Part, ...] | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        if profile is not None:
            return None
        bits = BITS[platform.architecture]
        return (*provide.parts(bits=bits), *(part for library in self._libraries for part in library.parts(bits=bits)))

    def fetch(self, platform: Platform) -> None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        self._launch(platform)

    def _launch(self, platform: Platform) -> WineLaunch:
        return wine_launch.provision(
            offline=self.offline,
            bits=BITS[platform.architecture],
            index=self.index,
            cpp_runtime=self._cpp_runtime,
        )

    def trial_argv(self, *, platform: Platform, root: Path | None, name: Path, program: Path) -> list[str | Path]:  # noqa: ARG002
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return self._launch(platform).trial_argv(name, program)

    def target_path(self, path: Path) -> str:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return paths.all_drives().to_target(path)

    def make_ready(self, installation: Installation, native_python: NativePython) -> Runtime:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        launch = self._launch(installation.platform)
        name = cache_name(installation.version, installation.platform.architecture)
        return Runtime(
            installation=installation,
            python=launcher.provision(launch.launch, installation, name=name),
            backend=self,
            native=native_python(installation.version[:2], installation.free_threaded),
            launch=launch,
        )

    def create_environment(self, runtime: Runtime, directory: Path) -> Environment:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        try:
            venv.create(runtime.installation, _launch_of(runtime).launch, directory)
        except OSError as error:
            raise RuntimeUnavailableError(
                f"cannot make a virtual environment in {directory}: {error.strerror or error}"
            ) from error
        site_packages = directory / "Lib" / "site-packages"
        return Environment(
            root=directory,
            python=directory / "Scripts" / "python",
            site_packages=site_packages,
            platlib=site_packages,
            scripts=directory / "Scripts",
        )

    def uv_arguments(self, runtime: Runtime) -> list[str | Path]:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return ["--python", runtime.native or wine_launch.base_python(), *_platform_arguments(runtime)]

    def install(
        self,
        runtime: Runtime,
        environment: Environment,
        arguments: Sequence[str | Path],
        settings: InstallSettings,
        *,
        project: Path | None = None,
    ) -> InstallResult:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        completed = venv.install(
            environment.root,
            runtime,
            _launch_of(runtime).launch,
            lambda python: environments.uv_install(
                python, [*_platform_arguments(runtime), *arguments], settings, project=project
            ),
        )
        return InstallResult(completed=completed)

    def bytecode_compiler(self, runtime: Runtime) -> Path | None:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return runtime.native or environments.running_python(runtime.installation)

    def open_session(self, runtime: Runtime, machine: Machine, settings: Settings, directory: Path) -> Session:
        """See :class:`pytest_wheelcheck.backends.base.Backend`."""
        return WineSession(runtime, machine, settings, directory, _launch_of(runtime))


def _launch_of(runtime: Runtime) -> WineLaunch:
    assert isinstance(runtime.launch, WineLaunch)  # noqa: S101  made by this backend
    return runtime.launch


def _platform_arguments(runtime: Runtime) -> list[str | Path]:
    platform = venv.UV_PLATFORMS[runtime.platform.architecture]
    return ["--python-platform", platform, "--python-version", runtime.installation.version_text]
