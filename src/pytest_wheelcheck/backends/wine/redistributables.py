"""Libraries of Microsoft for programs under Wine, as Microsoft redistributes them, from published wheels.

The C library, ``ucrtbase.dll``: Wine's own, up to version 10, has many functions by name only, such as those for complex
numbers, which numpy calls when it is imported. Every Windows since 10 has Microsoft's, so with it the results are also
nearer to those on Windows.

The runtime of Visual C++, ``msvcp140.dll`` and others: a fresh Windows lacks it, so it is installed only if the user says
that users of the wheel install it themselves.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.system import cache, temporary
from pytest_wheelcheck.system.progress import step

#: The file name of the C library.
C_LIBRARY_NAME = "ucrtbase.dll"

#: In the name of a file that delvewheel bundled.
_HASH = re.compile(r"-[0-9a-f]{32}(?=\.dll)")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """The libraries for one number of bits.

    :param version: of the libraries.
    :param wheel: carries them.
    :param members: matches their paths in the wheel.
    """

    version: str
    wheel: pinned.PinnedWheel
    members: re.Pattern[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Redistributable:
    """Libraries that Microsoft redistributes together.

    :param name: human-readable.
    :param key: begins their cache keys.
    :param sources: by number of bits.
    """

    name: str
    key: str
    sources: Mapping[int, _Source]

    def unavailable_reason(self, *, offline: bool, bits: int) -> str:
        """Return why they are not available; empty if they may be. Fetches nothing.

        :param bits: number of bits of the programs that need them.
        """
        if offline and not all(cache.find(self._cache_key(number)) for number in _numbers(bits)):
            return f"{self.name} is not in the cache, and this run is offline"
        return ""

    def get(self, *, offline: bool, index: pinned.PackageIndex, bits: int) -> dict[int, Path]:
        """Return directories with the libraries for the programs of a session, by their number of bits.

        :param bits: of the interpreter; the session of a 32-bit one also runs 64-bit programs.
        :raises RuntimeUnavailableError: they cannot be fetched.
        """
        if reason := self.unavailable_reason(offline=offline, bits=bits):
            raise RuntimeUnavailableError(reason, fix="run once without --wheel-offline")
        return {number: self._provision(number, index) for number in _numbers(bits)}

    def parts(self, *, bits: int) -> tuple[Part, ...]:
        """Return what :meth:`get` fetches. Fetches nothing."""
        return tuple(
            Part.of(self._cache_key(number), f"{self.name} ({number} bits)", self.sources[number].wheel.size)
            for number in _numbers(bits)
        )

    def _cache_key(self, bits: int) -> str:
        source = self.sources[bits]
        return f"wine/{self.key}-{source.version}-{source.wheel.platform}-{source.wheel.sha256[:16]}"

    def _provision(self, bits: int, index: pinned.PackageIndex) -> Path:
        source = self.sources[bits]

        def make(side: Path) -> None:
            with (
                step(f"{self.name} {source.version} ({bits} bits)", side),
                temporary.directory() as work,
                zipfile.ZipFile(pinned.download(source.wheel, index, work / "wheel")) as archive,
            ):
                for member in filter(source.members.fullmatch, archive.namelist()):
                    name = _HASH.sub("", member.rpartition("/")[2])
                    (side / name).write_bytes(archive.read(member))

        return cache.provision(self._cache_key(bits), make)


def _numbers(bits: int) -> tuple[int, ...]:
    return (64, 32) if bits == 32 else (64,)


def _of_dotnet(platform: str, sha256: str) -> _Source:
    """Return the C library of Windows 10, version 1803, in a directory of .NET that is complete without it."""
    wheel = pinned.PinnedWheel(
        distribution="dotnetcore2", version="3.1.23", python="3.9", abi="none", platform=platform, sha256=sha256
    )
    members = re.compile(rf"dotnetcore2/bin/shared/Microsoft\.NETCore\.App/3\.1\.23/{re.escape(C_LIBRARY_NAME)}")
    return _Source(version="10.0.17134.12", wheel=wheel, members=members)


C_LIBRARY = Redistributable(
    name="Microsoft's C library",
    key="ucrtbase",
    sources={
        64: _of_dotnet("win_amd64", "e2528813677d7a080522336cb530442408d1e2aea76fa8657018fb532c03c252"),
        32: _of_dotnet("win32", "bfa7f4c1301bb8e6efaa231a9de9f427b8556947d6c9875cbfc6add5777edacc"),
    },
)

#: What Microsoft's installer, ``vc_redist``, copies into the system directory. The ``win32`` wheels of msvc-runtime have the
#: files for 64 bits, so the 32-bit one, without its companions, is from a wheel that bundles it.
CPP_RUNTIME = Redistributable(
    name="Microsoft's runtime of Visual C++",
    key="visual-cpp",
    sources={
        64: _Source(
            version="14.51.36231",
            wheel=pinned.PinnedWheel(
                distribution="msvc-runtime",
                version="14.51.36231",
                python="3.13",
                abi="cp313",
                platform="win_amd64",
                sha256="f3c3ac4f733a774f6ae209567e533bfde6f72dc1c10977733bfe09ce01e5b624",
            ),
            members=re.compile(r"msvc_runtime-[^/]*\.data/data/Scripts/[^/]*140[^/]*\.dll"),
        ),
        32: _Source(
            version="14.44.35229",
            wheel=pinned.PinnedWheel(
                distribution="shapely",
                version="2.2.0",
                python="3.13",
                abi="cp313",
                platform="win32",
                sha256="40871d7135cd723f965d200181aa28418e9ec029fd85bdd010488259d1c01906",
            ),
            members=re.compile(r"shapely\.libs/msvcp140-[^/]*\.dll"),
        ),
    },
)
