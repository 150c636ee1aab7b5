"""Which wheels an interpreter accepts: its list of compatibility tags, computed without running it.

:func:`packaging.tags.sys_tags` computes them for the running interpreter. This module computes them for any other one,
also one of another machine, from its facts:

* tags and their order: PEP 425, as ``packaging.tags`` orders them;
* ``manylinux_X_Y`` and its three older names ``manylinux1``, ``manylinux2010``, ``manylinux2014``: PEP 600, with the
  floors that installers use (glibc 2.5 on x86_64 and i686, 2.17 elsewhere: ``packaging._manylinux.platform_tags``);
* ``musllinux_X_Y``: PEP 656;
* free-threaded builds have the ABI ``cp313t`` and refuse ``abi3``: PEP 703;
* their stable ABI ``abi3t``: PEP 803, where the installed ``packaging`` knows it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from packaging import tags as packaging_tags

#: Older names of manylinux platforms (PEP 513, PEP 571, PEP 599) by the glibc version that they mean.
LEGACY_MANYLINUX = {(2, 5): "manylinux1", (2, 12): "manylinux2010", (2, 17): "manylinux2014"}

#: Architectures that have manylinux and musllinux tags (``packaging._manylinux._ALLOWED_ARCHS`` with i686 and armv7l).
MANYLINUX_ARCHITECTURES = frozenset(
    {"x86_64", "i686", "aarch64", "armv7l", "ppc64", "ppc64le", "s390x", "loongarch64", "riscv64"}
)

_MACOS_MINIMUM = (11, 0)


def oldest_manylinux_minor(architecture: str) -> int:
    """Return the minor version of glibc 2 of the oldest manylinux platform of an architecture.

    Source: ``packaging._manylinux.platform_tags``; PEP 599 added the architectures other than x86_64 and i686.
    """
    return 5 if architecture in {"x86_64", "i686"} else 17


def linux_platforms(architecture: str, libc: str, libc_version: tuple[int, int]) -> Iterator[str]:
    """Yield the platform tags of a Linux interpreter, best first (PEP 600, PEP 656).

    The bare ``linux_`` tag is the first, as in ``packaging.tags``: such a wheel was built on the host.

    :param architecture: as in platform tags: ``x86_64``, ``aarch64``, ``armv7l``
    :param libc: ``glibc``, ``musl``, or an empty string for a C library without a tag family.
    :param libc_version: major and minor of *libc*.
    """
    major, minor = libc_version
    yield f"linux_{architecture}"
    if libc == "glibc" and architecture in MANYLINUX_ARCHITECTURES and major == 2:
        for number in range(minor, oldest_manylinux_minor(architecture) - 1, -1):
            yield f"manylinux_2_{number}_{architecture}"
            if legacy := LEGACY_MANYLINUX.get((2, number)):
                yield f"{legacy}_{architecture}"
    if libc == "musl":
        for number in range(minor, -1, -1):
            yield f"musllinux_{major}_{number}_{architecture}"


def platforms(
    *,
    system: str,
    architecture: str,
    libc: str = "",
    libc_version: tuple[int, int] = (0, 0),
    system_version: tuple[int, int] | None = None,
) -> tuple[str, ...]:
    """List the platform tags that an interpreter accepts, best first.

    :param system: ``linux``, ``darwin`` or ``win32``.
    :param architecture: as in platform tags; on Windows ``amd64``, ``x86`` or ``arm64``.
    :param libc: see :func:`linux_platforms`.
    :param libc_version: see :func:`linux_platforms`.
    :param system_version: macOS only: its version; ``None`` for 11.0, which every arm64 Mac has.
    """
    if system == "linux":
        return tuple(linux_platforms(architecture, libc, libc_version))
    if system == "darwin":
        return tuple(packaging_tags.mac_platforms(system_version or _MACOS_MINIMUM, architecture))
    if system == "win32":
        return ({"x86": "win32"}.get(architecture, f"win_{architecture}"),)
    return (f"{system}_{architecture}".replace("-", "_").replace(".", "_"),)


def accepted(
    *,
    implementation: str,
    version: tuple[int, ...],
    free_threaded: bool,
    system: str,
    architecture: str,
    libc: str = "",
    libc_version: tuple[int, int] = (0, 0),
    system_version: tuple[int, int] | None = None,
    abi: str | None = None,
) -> tuple[str, ...]:
    """List every tag that an interpreter accepts, best first, as ``str(Tag)``.

    The result equals what :func:`packaging.tags.sys_tags` yields inside that interpreter.

    :param implementation: ``cpython`` or ``pypy``.
    :param version: major, minor, and anything after.
    :param free_threaded: whether it was built with ``--disable-gil``: it accepts ``cp313t`` and ``abi3t``, not ``abi3``.
    :param abi: PyPy only: the ABI tag, such as ``pypy311_pp73`` (the default; every PyPy 7.3 has ``pp73``).
    """
    plats = platforms(
        system=system,
        architecture=architecture,
        libc=libc,
        libc_version=libc_version,
        system_version=system_version,
    )
    return _accepted(implementation, (version[0], version[1]), "t" if free_threaded else "", plats, abi)


# Several providers offer the same interpreter for each of several wheels.
@functools.lru_cache(maxsize=1024)
def _accepted(
    implementation: str, short: tuple[int, int], flags: str, plats: tuple[str, ...], abi: str | None
) -> tuple[str, ...]:
    nodot = f"{short[0]}{short[1]}"
    found: list[packaging_tags.Tag] = []
    if implementation == "cpython":
        name = f"cp{nodot}"
        found.extend(packaging_tags.cpython_tags(short, [f"{name}{flags}"], plats))
    else:
        prefix = packaging_tags.INTERPRETER_SHORT_NAMES.get(implementation, implementation)
        name = f"{prefix}{short[0]}" if implementation == "pypy" else f"{prefix}{nodot}"
        abis = [abi or f"pypy{nodot}_pp73"] if implementation == "pypy" else [abi] if abi else []
        found.extend(packaging_tags.generic_tags(f"{prefix}{nodot}", abis, plats))
    found.extend(packaging_tags.compatible_tags(short, name, plats))
    return tuple(dict.fromkeys(map(str, found)))


#: Platform tags with a version: its two parts and the architecture.
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)")
_MUSLLINUX = re.compile(r"musllinux_(\d+)_(\d+)_(\w+)")
_MACOSX = re.compile(r"macosx_(\d+)_(\d+)_(\w+)")


def split_platform(tag: str) -> tuple[str, str, str, tuple[int, int]]:
    """Split a platform tag into system, architecture, libc, and minimum version.

    The version is that of glibc, of musl or of macOS. For ``any``, all four are empty. For a platform other than Linux,
    macOS and Windows, the system is the first part of the tag (``ios``, ``android``).

    >>> split_platform("manylinux2014_aarch64")
    ('linux', 'aarch64', 'glibc', (2, 17))
    >>> split_platform("win_amd64")
    ('win32', 'amd64', '', (0, 0))
    """
    for pattern, system, libc in (
        (_MANYLINUX, "linux", "glibc"),
        (_MUSLLINUX, "linux", "musl"),
        (_MACOSX, "darwin", ""),
    ):
        if match := pattern.fullmatch(tag):
            return system, match[3], libc, (int(match[1]), int(match[2]))
    for version, legacy in LEGACY_MANYLINUX.items():
        if tag.startswith(f"{legacy}_"):
            return "linux", tag.removeprefix(f"{legacy}_"), "glibc", version
    if tag == "any":
        return "", "", "", (0, 0)
    if tag == "win32":
        return "win32", "x86", "", (0, 0)
    first, _, rest = tag.partition("_")
    return {"win": "win32"}.get(first, first), rest, "", (0, 0)
