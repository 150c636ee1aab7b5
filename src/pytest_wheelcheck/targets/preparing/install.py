"""Install a wheel with its declared dependencies into a clean environment, as a user would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name

from pytest_wheelcheck.backends.base import Environment, Runtime
from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.interpreters.base import here
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Named, Settings, as_option
from pytest_wheelcheck.system import temporary, uv, uv_errors
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.preparing.resolution import is_lowest, options, write_direct

#: Name and version of a distribution, as its METADATA has them.
Distribution = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledWheel:
    """The content of an environment after the wheel was installed there.

    :param requirement: the requirement that was installed, such as ``pkg[extra] @ file:///.../pkg-1.0-....whl``.
    :param wheel: the wheel's own distribution.
    :param distributions: everything in the environment, including the wheel, sorted by name.
    :param output: the installer's output.
    :param seconds: wall time.
    :param missing: why system libraries that the installed files may need are missing; usually empty.
    """

    requirement: str
    wheel: Distribution
    distributions: tuple[Distribution, ...]
    output: str
    seconds: float
    missing: str = ""


def install_wheel(
    runtime: Runtime,
    environment: Environment,
    wheel: Wheel,
    *,
    extras: Sequence[str],
    settings: InstallSettings,
    build: bool = True,
    named: Named = as_option,
    resolution: str = "",
) -> InstalledWheel:
    """Install the wheel with its declared dependencies and *extras*.

    The settings of the project at hand have no effect (its ``override-dependencies`` and the like are not published with
    the wheel), except for the package indexes. Nothing is compiled to bytecode: an import compiles what it needs, a small
    part of what the larger dependencies contain.

    :param extras: names of extras of the wheel.
    :param resolution: see :mod:`.resolution`. Old versions that have a wheel are preferred to still older ones that must be
        built, because these were made for other interpreters.
    :param build: dependencies that have no wheel are built, where that is possible: their code runs on this host.
    :param named: see :data:`~pytest_wheelcheck.settings.Named`.
    :raises InstallError: it cannot be installed; the installer's output is in ``details``.
    :raises DependencyError: a dependency has no wheel for the interpreter.
    """
    known = set(map(canonicalize_name, wheel.extras))
    unknown = sorted(extra for extra in extras if canonicalize_name(extra) not in known)
    if unknown:
        raise InstallError(
            f"{wheel.shown} has no extra {', '.join(unknown)}",
            cause=f"its METADATA provides {', '.join(wheel.extras) or 'none'}",
            fix=f"correct {named('--wheel-extra', unknown[0])}, or the optional dependencies of the project",
        )
    requirement = requirement_for(wheel, extras)
    with temporary.directory() as work:
        direct, *chosen = write_direct(wheel, extras, resolution, work) or [""]
        arguments = [*options(resolution), *(["-r", direct, *chosen] if direct else []), requirement]
        wheels_only = binary_only(runtime) if build else ["--no-build"]
        first = ["--no-build"] if is_lowest(resolution) else wheels_only
        result = runtime.backend.install(runtime, environment, [*first, *arguments], settings, project=environment.root)
        if first != wheels_only and result.completed.returncode != 0:
            result = runtime.backend.install(runtime, environment, arguments, settings, project=environment.root)
    completed = result.completed
    if completed.returncode != 0:
        what = f"{wheel.shown} cannot be installed"
        if resolution:
            what += f" with --wheel-resolution {resolution}"
        raise uv_errors.install_error(what, completed, own=wheel.name)
    distributions = list_distributions(environment.site_directories)
    own = [each for each in distributions if is_same_name(each[0], wheel.name)]
    if not own:
        raise InstallError(
            f"{wheel.shown} was installed, but the environment has no distribution named {wheel.name}",
            cause="the name in its METADATA, or its dist-info directory, differs from the name of the file",
            fix="build the wheel again with a build backend: python -m build --wheel",
            details=uv_errors.output(completed),
        )
    return InstalledWheel(
        requirement=requirement,
        wheel=own[0],
        distributions=distributions,
        output=uv_errors.output(completed),
        seconds=completed.seconds,
        missing=result.missing,
    )


def binary_only(runtime: Runtime) -> list[str]:
    """Return uv's arguments that forbid to build dependencies, where a build would be for this host's platform."""
    return [] if runtime.platform == here() else ["--no-build"]


def install_settings(settings: Settings) -> InstallSettings:
    """Return where packages come from."""
    return InstallSettings(
        offline=settings.offline, find_links=settings.find_links, index=settings.index, extra_index=()
    )


def unresolved(runtime: Runtime, wheel: Wheel, settings: Settings) -> str:
    """Return why the dependencies of a wheel cannot be installed as wheels; empty if they can, or if that is unknown.

    Nothing is installed or built.
    """
    if not wheel.requires:
        return ""
    with temporary.directory() as work:
        listed = work / "requirements.txt"
        listed.write_text(requirement_for(wheel, settings.extras) + "\n", encoding="utf-8")
        direct = work / "direct"
        direct.mkdir()
        arguments = ["compile", "--quiet", "--no-header", "--only-binary", ":all:", *options(settings.resolution)]
        sources = [listed, *write_direct(wheel, settings.extras, settings.resolution, direct)]
        try:
            completed = uv.run(
                [*arguments, *runtime.backend.uv_arguments(runtime), *sources], install_settings(settings), project=work
            )
        except InstallError:
            # The installation reports it.
            return ""
    return uv_errors.dependency_without_wheel(completed, wheel.name) if completed.returncode else ""


def requirement_for(wheel: Wheel, extras: Iterable[str]) -> str:
    """Return the requirement that means the wheel's file, with *extras*."""
    names = ",".join(sorted(extras))
    return f"{wheel.name}{f'[{names}]' if names else ''} @ {wheel.path.absolute().as_uri()}"


def is_same_name(one: str, other: str) -> bool:
    """Return whether two names mean the same distribution."""
    return canonicalize_name(one) == canonicalize_name(other)


def list_distributions(directories: Iterable[Path]) -> tuple[Distribution, ...]:
    """List the distributions in directories of installed modules, sorted by name.

    ``importlib.metadata`` refuses METADATA that is not UTF-8, which installers accept.
    """
    found: dict[str, Distribution] = {}
    for directory in directories:
        for file in sorted(directory.glob("*.dist-info/METADATA")):
            fields, unparsed = parse_email(file.read_bytes())
            # A repeated field is unparsed.
            name = fields.get("name") or next(iter(unparsed.get("name", ())), "")
            version = fields.get("version") or next(iter(unparsed.get("version", ())), "")
            if name:
                found.setdefault(canonicalize_name(name), (name, version))
    return tuple(found[key] for key in sorted(found))
