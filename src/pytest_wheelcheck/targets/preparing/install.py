"""Install a wheel with its declared dependencies into a clean environment, as a user would."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from pytest_wheelcheck.backends.base import Environment, Runtime
from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.system import uv_errors
from pytest_wheelcheck.system.uv_config import InstallSettings

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
    runtime: Runtime, environment: Environment, wheel: Wheel, *, extras: Sequence[str], settings: InstallSettings
) -> InstalledWheel:
    """Install the wheel with its declared dependencies and *extras*.

    The settings of the project at hand have no effect (its ``override-dependencies`` and the like are not published with
    the wheel), except for the package indexes. Nothing is compiled to bytecode: an import compiles what it needs, a small
    part of what the larger dependencies contain.

    :param extras: names of extras of the wheel.
    :raises InstallError: it cannot be installed; the installer's output is in ``details``.
    """
    unknown = {canonicalize_name(extra) for extra in extras} - {canonicalize_name(extra) for extra in wheel.extras}
    if unknown:
        raise InstallError(
            f"{wheel.shown} has no extra {', '.join(sorted(unknown))}",
            cause=f"its METADATA provides {', '.join(wheel.extras) or 'none'}",
            fix="correct --wheel-extra, or the optional dependencies of the project",
        )
    requirement = requirement_for(wheel, extras)
    result = runtime.backend.install(runtime, environment, [requirement], settings, project=environment.root)
    completed = result.completed
    if completed.returncode != 0:
        raise uv_errors.install_error(f"{wheel.shown} cannot be installed", completed)
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


def requirement_for(wheel: Wheel, extras: Iterable[str]) -> str:
    """Return the requirement that means the wheel's file, with *extras*."""
    names = ",".join(sorted(extras))
    return f"{wheel.name}{f'[{names}]' if names else ''} @ {wheel.path.absolute().as_uri()}"


def is_same_name(one: str, other: str) -> bool:
    """Return whether two names mean the same distribution."""
    return canonicalize_name(one) == canonicalize_name(other)


def list_distributions(directories: Iterable[Path]) -> tuple[Distribution, ...]:
    """List the distributions in directories of installed modules, sorted by name."""
    found: dict[str, Distribution] = {}
    for distribution in importlib.metadata.distributions(path=[str(directory) for directory in directories]):
        # A dist-info directory without METADATA has no name.
        name = distribution.metadata["Name"] if distribution.metadata else None
        if name:
            found.setdefault(canonicalize_name(name), (name, distribution.version))
    return tuple(found[key] for key in sorted(found))
