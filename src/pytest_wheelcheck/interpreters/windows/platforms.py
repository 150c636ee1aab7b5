"""The platforms of Windows for which interpreters are available."""

from __future__ import annotations

from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.model import Platform

#: Architectures by platform tag. The tags are also names of ``--wheel-sysroot``.
ARCHITECTURES = {"win_amd64": "amd64", "win32": "x86"}

#: Platforms by platform tag, and by architecture.
PLATFORMS = {tag: Platform(system="win32", architecture=architecture) for tag, architecture in ARCHITECTURES.items()}
PLATFORM_OF = {platform.architecture: platform for platform in PLATFORMS.values()}

#: Number of bits by architecture.
BITS = {"amd64": 64, "x86": 32}

#: Human-readable names by architecture.
DESCRIPTIONS = {"amd64": "x86-64", "x86": "x86 (32-bit)"}

#: The requests for all 64-bit and for all 32-bit interpreters.
REQUEST = Request(platform=PLATFORMS["win_amd64"])
REQUEST_32 = Request(platform=PLATFORMS["win32"])


def cache_name(version: tuple[int, int, int], architecture: str) -> str:
    """Return the beginning of an interpreter's name in the cache, such as ``windows-cp313`` or ``windows-cp313-win32``.

    :param architecture: ``amd64`` or ``x86``.
    """
    return f"windows-cp{version[0]}{version[1]}{'-win32' if architecture == 'x86' else ''}"
