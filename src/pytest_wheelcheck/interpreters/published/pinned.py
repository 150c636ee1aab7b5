"""Wheels that are fetched for what lies in them: pinned by name, version and digest, through pip.

pip knows the user's index, proxies and certificates; it is asked for wheels of other platforms too, and installs
nothing.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.system import process

#: Seconds for pip to download one wheel of up to 70 MB.
_DOWNLOAD_DEADLINE = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedWheel:
    """One wheel.

    :param distribution: as the index names it.
    :param version: of the distribution.
    :param python: the minor version of CPython that its tags admit: ``3.14``.
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

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.abi}-{self.platform})"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageIndex:
    """Where wheels come from.

    :param url: the package index; ``None`` for the one that pip is configured for.
    :param find_links: further folders or pages of distributions.
    """

    url: str | None = None
    find_links: tuple[str, ...] = ()

    def pip_arguments(self) -> list[str]:
        """Say it in pip's words."""
        return [
            *(f"--find-links={place}" for place in self.find_links),
            *([f"--index-url={self.url}"] if self.url else []),
        ]


def index(url: str | None, find_links: Sequence[str]) -> PackageIndex:
    """Make an index of a provider's parameters."""
    return PackageIndex(url=url, find_links=tuple(find_links))


def download(wheel: PinnedWheel, index: PackageIndex, folder: Path) -> Path:
    """Fetch a wheel into a new folder.

    :returns: the file, its digest verified.
    :raises RuntimeUnavailableError: the index does not give it, or gives another file.
    """
    folder.mkdir()
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{wheel.distribution}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    argv: list[str | Path] = [
        *pip_command(),
        *("download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"),
        *("--implementation=cp", f"--python-version={wheel.python}", f"--abi={wheel.abi}"),
        *(f"--platform={wheel.platform}", "--require-hashes", "-r", wanted, "-d", folder),
        *index.pip_arguments(),
    ]
    try:
        process.run(argv, timeout=_DOWNLOAD_DEADLINE, end_with_parent=True)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"{wheel} could not be downloaded",
            cause="the package index cannot be reached, or does not carry that wheel",
            fix="look at pip's configuration; --wheel-offline leaves such interpreters out",
            details=error.details or str(error),
        ) from error
    for file in folder.glob("*.whl"):
        if hashlib.sha256(file.read_bytes()).hexdigest() == wheel.sha256:
            return file
    raise RuntimeUnavailableError(
        f"{wheel} is not the file that it was",
        cause="the index, or something on the way, changed it",
        fix="do not use it; tell the maintainers of the index",
    )


def pip_command() -> list[str | Path]:
    """Give a pip as a command: virtualenv carries one, which runs from its wheel."""
    if found := embedded_pip():
        return [sys.executable, found / "pip"]
    return [sys.executable, "-m", "pip"]


def embedded_pip() -> Path | None:
    """Give virtualenv's newest wheel of pip."""
    from packaging.version import Version
    from virtualenv.seed.wheels import embed

    folder = Path(embed.__file__).parent
    return max(folder.glob("pip-*.whl"), key=lambda path: Version(path.name.split("-")[1]), default=None)
