"""Microsoft's C library for programs under Wine: ``ucrtbase.dll``, as Microsoft redistributes it.

Wine's own, up to version 10, has many functions by name only, such as those for complex numbers, which numpy calls when it
is imported. Every Windows since 10 has Microsoft's, so with it the results are also nearer to those on Windows. It is
inside published wheels, for 64-bit and 32-bit programs, in a directory that is complete without it.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.system import cache, temporary
from pytest_wheelcheck.system.progress import step

#: The file name of the library.
NAME = "ucrtbase.dll"

#: Its version: that of Windows 10, version 1803.
VERSION = "10.0.17134.12"

#: The distribution whose wheels carry it, and the directory in them.
_DISTRIBUTION, _DISTRIBUTION_VERSION = "dotnetcore2", "3.1.23"
_MEMBER = f"dotnetcore2/bin/shared/Microsoft.NETCore.App/3.1.23/{NAME}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Library:
    """The library for one number of bits.

    :param tag: platform tag of the wheel.
    :param wheel_sha256: hexadecimal digest of the wheel.
    :param sha256: hexadecimal digest of the library.
    """

    tag: str
    wheel_sha256: str
    sha256: str

    @property
    def wheel(self) -> pinned.PinnedWheel:
        """The wheel that carries it."""
        return pinned.PinnedWheel(
            distribution=_DISTRIBUTION,
            version=_DISTRIBUTION_VERSION,
            python="3.9",
            abi="none",
            platform=self.tag,
            sha256=self.wheel_sha256,
        )

    @property
    def key(self) -> str:
        """The cache key of its directory."""
        return f"wine/ucrtbase-{VERSION}-{self.tag}-{self.sha256[:16]}"


_LIBRARIES = {
    64: _Library(
        tag="win_amd64",
        wheel_sha256="e2528813677d7a080522336cb530442408d1e2aea76fa8657018fb532c03c252",
        sha256="8a91052ef261b5fbf3223ae9ce789af73dfe1e9b0ba5bdbc4d564870a24f2bae",
    ),
    32: _Library(
        tag="win32",
        wheel_sha256="bfa7f4c1301bb8e6efaa231a9de9f427b8556947d6c9875cbfc6add5777edacc",
        sha256="6f8f05993b8a25cadf5e301e58194c4d23402e467229b12e40956e4f128588b3",
    ),
}


def unavailable_reason(*, offline: bool, bits: int) -> str:
    """Return why it is not available; empty if it may be. Fetches nothing.

    :param bits: number of bits of the programs that need it.
    """
    if offline and not all(cache.find(_LIBRARIES[number].key) for number in _numbers(bits)):
        return "Microsoft's C library is not in the cache, and this run is offline"
    return ""


def get(*, offline: bool, index: pinned.PackageIndex, bits: int) -> dict[int, Path]:
    """Return the files for the programs of a session by their number of bits, fetched if necessary.

    :param bits: of the interpreter; the session of a 32-bit one also runs 64-bit programs.
    :raises RuntimeUnavailableError: it cannot be fetched.
    """
    if reason := unavailable_reason(offline=offline, bits=bits):
        raise RuntimeUnavailableError(reason, fix="run once without --wheel-offline")
    return {number: _provision(_LIBRARIES[number], index) for number in _numbers(bits)}


def _numbers(bits: int) -> tuple[int, ...]:
    return (64, 32) if bits == 32 else (64,)


def _provision(library: _Library, index: pinned.PackageIndex) -> Path:
    def make(side: Path) -> None:
        with step(f"Microsoft's C library {VERSION} ({library.tag})", side), temporary.directory() as work:
            with zipfile.ZipFile(pinned.download(library.wheel, index, work / "wheel")) as archive:
                data = archive.read(_MEMBER)
            # The digest of the wheel was verified; this one keeps the table true.
            assert hashlib.sha256(data).hexdigest() == library.sha256  # noqa: S101
            (side / NAME).write_bytes(data)

    return cache.provision(library.key, make) / NAME
