"""Has uv install its CPythons into the cache; those for Windows are given to the provider of Windows interpreters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from pytest_wheelcheck.errors import InstallError, ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.uv_builds.catalog import (
    Download,
    cached_downloads,
    download_size,
    read_catalog,
    unreachable_reason,
    write_origin,
)
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache, process, uv
from pytest_wheelcheck.system.progress import step

#: Seconds for downloading one installation of 30 MB.
_DOWNLOAD_TIMEOUT = 900.0


def install(download: Download, side: Path, final: Path) -> None:
    """Have uv install a download into ``python`` in a directory.

    :param side: the directory.
    :param final: the directory that it will be moved to, which replaces *side* in the files that uv wrote.
    :raises RuntimeUnavailableError: uv failed; its output is in the details.
    """
    work = side / "uv"
    argv: list[str | Path] = [
        *(uv.executable(), "python", "install", "--no-bin", "--no-progress", "--color", "never"),
        *("--install-dir", work, download.key),
    ]
    try:
        process.run(argv, timeout=_DOWNLOAD_TIMEOUT)
    except (ProcessError, InstallError) as error:
        raise RuntimeUnavailableError(
            f"uv could not install {download.key}",
            cause="its downloads cannot be reached from this host, or do not have the expected digest",
            fix="set UV_PYTHON_INSTALL_MIRROR to a mirror of them, or use --wheel-offline to run without them",
            details=error.details or str(error),
        ) from error
    # uv also makes a lock, and a link for the minor version.
    (installed,) = (path for path in work.glob("cpython-*") if path.is_dir() and not path.is_symlink())
    installed.rename(side / "python")
    for path in sorted(work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    work.rmdir()
    for file in (side / "python").glob("lib*/python3*/_sysconfigdata*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(str(installed), str(final / "python")), encoding="utf-8")
    write_origin(side, download)


def windows_downloads(architecture: str, *, offline: bool = False) -> list[Download]:
    """Return the CPythons for Windows that :func:`provide_windows` can provide, one for each minor version.

    :param architecture: ``amd64`` or ``x86``.
    :param offline: only those in the cache.
    """
    cached = _for_windows(cached_downloads(), architecture)
    if offline:
        return list(cached.values())
    available: dict[tuple[int, int], Download] = {}
    with contextlib.suppress(RuntimeUnavailableError):
        available = _for_windows(read_catalog(), architecture)
    if available and unreachable_reason(next(iter(available.values())).url):
        available = {}
    return list({**available, **cached}.values())


def provide_windows(version: tuple[int, int], architecture: str, *, offline: bool = False) -> Path | None:
    """Return the directory of a CPython for Windows: with ``python.exe``, its DLLs, ``DLLs`` and ``Lib``.

    :param version: major, minor.
    :param architecture: ``amd64`` or ``x86``.
    :param offline: only from the cache.
    :returns: ``None`` if uv has none, or its downloads cannot be reached.
    :raises RuntimeUnavailableError: uv could not install it.
    """
    download = _for_windows(cached_downloads(), architecture).get(version)
    if download is None and not offline:
        with contextlib.suppress(RuntimeUnavailableError):
            download = _for_windows(read_catalog(), architecture).get(version)
        if download is not None and unreachable_reason(download.url):
            return None
    if download is None:
        return None
    chosen = download

    def make(side: Path) -> None:
        with step(f"CPython {chosen.stem} for Windows from uv", side, size=download_size(chosen.url)):
            install(chosen, side, cache.path(chosen.cache_key))

    return cache.provision(chosen.cache_key, make) / "python"


def _for_windows(downloads: Iterable[Download], architecture: str) -> dict[tuple[int, int], Download]:
    """Return the downloads for Windows with a GIL, by minor version."""
    platform = Platform(system="win32", architecture=architecture)
    return {
        download.version[:2]: download
        for download in downloads
        if download.platform == platform and not download.free_threaded
    }
