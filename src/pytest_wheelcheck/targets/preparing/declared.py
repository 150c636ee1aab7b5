"""What the metadata of a wheel declares: which requirement or extra brings a module."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.targets.preparing import known_modules
from pytest_wheelcheck.targets.preparing.install import InstalledWheel, requirement_for
from pytest_wheelcheck.targets.preparing.markers import marker_environment
from pytest_wheelcheck.targets.target import Target

_SYSTEM_MARKER = re.compile(r"sys_platform|platform_system|os_name|platform_machine|implementation")

#: Ends of the names of distributions with the compiled part of another one.
_COMPILED_PART = re.compile(r"(?:clib|-c|-?c-?ext|-ext|-?speedups?|-native|-binary|-compiled|-accel\w*)$")


def _requirements(wheel: Wheel) -> Iterator[Requirement]:
    for text in wheel.requires:
        with contextlib.suppress(InvalidRequirement):  # a check reports it
            yield Requirement(text)


def installed_alone(target: Target, extras: Sequence[str]) -> InstalledWheel | None:
    """Return what the environment of a wheel will have in it if it declares no dependency there; ``None`` if it declares one.

    :param extras: those that are installed with it.
    """
    environment, wheel = marker_environment(target), target.wheel
    for requirement in _requirements(wheel):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)):
            return None
    own = (wheel.name, wheel.version)
    return InstalledWheel(
        requirement=requirement_for(wheel, extras), wheel=own, distributions=(own,), output="", seconds=0.0
    )


def extra_requirements(target: Target) -> Iterator[tuple[str, str]]:
    """Yield the names of the distributions that extras install on a target, each with its extra."""
    environment = marker_environment(target)
    for requirement in _requirements(target.wheel):
        if requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""}):
            continue
        for extra in target.wheel.extras:
            if requirement.marker.evaluate({**environment, "extra": extra}):
                yield requirement.name, extra


def extra_that_brings(top: str, target: Target, sites: tuple[Path, ...]) -> str:
    """Return the extra that brings a module, by the names of its distributions, and was not installed."""
    found = (extra for name, extra in extra_requirements(target) if known_modules.brings(name, top))
    return next((extra for extra in found if not _has_extra(extra, target, sites)), "")


def extra_of_name(name: str, target: Target, sites: tuple[Path, ...]) -> str:
    """Return the extra that a module has its name from, if it was not installed: ``fs.smb`` and ``smb``.

    The distribution may have another name than its module: ``smbprotocol`` brings ``smbclient``.
    """
    parts = {canonicalize_name(part.strip("_")) for part in name.split(".")[1:]}
    named = [extra for extra in target.wheel.extras if canonicalize_name(extra) in parts]
    return next((extra for extra in named if _requires(extra, target) and not _has_extra(extra, target, sites)), "")


def _requires(extra: str, target: Target) -> bool:
    """Return whether METADATA has a requirement of an extra, for this target or for others, such as an older Python."""
    pattern = re.compile(r"extra == ['\"]([^'\"]+)")
    return any(
        canonicalize_name(name) == canonicalize_name(extra)
        for requirement in _requirements(target.wheel)
        for name in pattern.findall(str(requirement.marker or ""))
    )


def _has_extra(extra: str, target: Target, sites: tuple[Path, ...]) -> bool:
    """Return whether everything that an extra installs is installed."""
    files = [path for site in sites for path in site.glob("*.dist-info")]
    installed = {canonicalize_name(path.name.partition("-")[0]) for path in files}
    required = [canonicalize_name(name) for name, other in extra_requirements(target) if other == extra]
    # It may require nothing on this target.
    return bool(required) and installed.issuperset(required)


def requirement_for_others(top: str, target: Target) -> str:
    """Return the requirement that brings a module on other systems only."""
    environment = {**marker_environment(target), "extra": ""}
    for requirement in _requirements(target.wheel):
        marker = requirement.marker
        if marker is None or not _SYSTEM_MARKER.search(str(marker)) or marker.evaluate(environment):
            continue
        if known_modules.brings(requirement.name, top):
            return str(requirement)
    return ""


def is_compiled_part(wheel: Wheel, top: str) -> bool:
    """Return whether a wheel is the compiled part of the distribution that has a module, as ruamel.yaml.clib is.

    That distribution requires the part, so the part cannot require it.
    """
    name, prefix = canonicalize_name(wheel.name), f"{canonicalize_name(top)}-"
    return (
        name.startswith(prefix)
        and _COMPILED_PART.search(name) is not None
        and not any(path.endswith(".py") for path in wheel.files)
    )
