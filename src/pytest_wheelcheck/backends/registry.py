"""The list of backends. A new kind of target is one more line here, and one package."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_wheelcheck.errors import WheelcheckError

if TYPE_CHECKING:
    from pytest_wheelcheck.backends.base import Backend, MachineProfile
    from pytest_wheelcheck.backends.qemu.machines import Profile
    from pytest_wheelcheck.interpreters.architectures import Architecture
    from pytest_wheelcheck.interpreters.published.pinned import PackageIndex

#: The classes of all backends, in the order in which they are preferred. Each takes the keyword arguments ``offline``,
#: ``apt_source``, ``index`` and ``ignored`` of :func:`backends`.
BACKENDS = [
    "pytest_wheelcheck.backends.native:NativeBackend",
    "pytest_wheelcheck.backends.qemu.backend:QemuBackend",
    "pytest_wheelcheck.backends.wine.backend:WineBackend",
]


def backends(
    *,
    offline: bool = False,
    apt_source: str = "",
    index: PackageIndex | None = None,
    ignored: Iterable[str] = (),
    without: Iterable[str] = (),
) -> tuple[Backend, ...]:
    """Return all backends.

    :param offline: download nothing.
    :param apt_source: a package repository to use before the host's, as a line of ``sources.list(5)``.
    :param index: the package index; ``None`` for the one that pip is configured for.
    :param ignored: the checks that the user ignores: codes or prefixes.
    :param without: names of backends to leave out.
    """
    from pytest_wheelcheck.interpreters.published.pinned import PackageIndex

    excluded = frozenset(without)
    arguments = {
        "offline": offline,
        "apt_source": apt_source,
        "index": index or PackageIndex(),
        "ignored": tuple(ignored),
    }
    made = []
    for reference in BACKENDS:
        module, _, name = reference.partition(":")
        backend: Backend = getattr(importlib.import_module(module), name)(**arguments)
        if backend.name not in excluded:
            made.append(backend)
    return tuple(made)


#: The kind of cache entries that are emulators, and the name of the emulator.
EMULATOR_KIND, EMULATOR = "qemu", "QEMU"


def emulator_version(architecture: Architecture) -> str:
    """Return the version of the cached or installed emulator for an architecture; empty if there is none."""
    from pytest_wheelcheck.backends.qemu import emulators

    try:
        return ".".join(map(str, emulators.find(architecture, offline=True).version))
    except WheelcheckError:
        return ""


def machine_profiles() -> Mapping[str, Profile]:
    """Return the machines that are known by name."""
    from pytest_wheelcheck.backends.qemu.machines import PROFILES

    return PROFILES


def parse_machines(texts: Iterable[str]) -> tuple[MachineProfile, ...]:
    """Read the values of ``--wheel-machine``.

    :raises UsageError: a machine is not known.
    """
    from pytest_wheelcheck.backends.qemu import machines

    return machines.parse(texts)
