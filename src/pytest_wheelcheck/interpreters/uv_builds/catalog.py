"""The CPythons that uv can install, those that it has installed in the cache, and whether its downloads can be reached.

uv contains the catalog, so reading it needs no network. uv's environment variables apply: ``UV_PYTHON_DOWNLOADS_JSON_URL`` for
another catalog, ``UV_PYTHON_INSTALL_MIRROR`` for a mirror of the files.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import InstallError, ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import OLDEST, Kind
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache, process, uv

#: Increase when the cached installations change.
_GENERATION = 1

#: uv's names of architecture and C library, and the architecture in platform tags.
_LINUX_ARCHITECTURES = {
    ("x86_64", "gnu"): "x86_64",
    ("x86_64", "musl"): "x86_64",
    ("aarch64", "gnu"): "aarch64",
    ("aarch64", "musl"): "aarch64",
    ("armv7", "gnueabihf"): "armv7l",
    ("x86", "gnu"): "i686",
    ("powerpc64le", "gnu"): "ppc64le",
    ("riscv64gc", "gnu"): "riscv64",
    ("riscv64", "gnu"): "riscv64",
    ("s390x", "gnu"): "s390x",
}

#: The same for Windows, which has one C library.
_WINDOWS_ARCHITECTURES = {"x86_64": "amd64", "x86": "x86"}

#: Seconds to wait for an answer of the server of the downloads.
_ANSWER_TIMEOUT = 5.0

#: Seconds for which it is cached that the server can be reached, or cannot.
_REACHABLE_FOR, _UNREACHABLE_FOR = 24 * 3600.0, 600.0

#: The file in a cached installation that describes the download.
_ORIGIN = "uv.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """An entry of uv's catalog.

    :param key: uv's name of it.
    :param version: major, minor, micro.
    :param system: ``linux`` or ``win32``.
    :param architecture: as in platform tags.
    :param libc: ``glibc`` or ``musl``; empty for Windows.
    :param url: the address of the file.
    """

    key: str
    version: tuple[int, int, int]
    free_threaded: bool
    system: str
    architecture: str
    libc: str
    url: str

    @property
    def stem(self) -> str:
        """The version in names of files, such as ``3.14t``."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def kind(self) -> Kind:
        """What it is, in the terms of tags."""
        return "cpython", self.version[:2], self.free_threaded

    @property
    def platform(self) -> Platform:
        """The platform that it is for."""
        return Platform(system=self.system, architecture=self.architecture, libc=self.libc)

    @property
    def cache_key(self) -> str:
        """Its name in the cache."""
        system = {"win32": "win", "linux": "musllinux" if self.libc == "musl" else "linux"}[self.system]
        name = f"cp{self.stem.replace('.', '')}-{system}-{self.architecture}"
        return f"runtimes/uv-{name}-{cache.digest(str(_GENERATION), self.key, self.url)}"

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Download:
        """Read the text that :meth:`to_json` returned.

        :raises ValueError: the text is not JSON.
        :raises KeyError: a field is missing.
        :raises TypeError: the fields are others.
        """
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "version": tuple(fields["version"])})


def read_catalog() -> tuple[Download, ...]:
    """Return the newest final release of each CPython that uv can install. Uses no network.

    :raises RuntimeUnavailableError: uv is not installed, or its output is not understood.
    """
    try:
        argv: list[str | Path] = [
            *(uv.executable(), "python", "list", "--only-downloads", "--all-platforms", "--all-arches"),
            *("--output-format", "json", "--color", "never"),
        ]
        rows = json.loads(process.run(argv, timeout=60).stdout)
    except (ProcessError, InstallError) as error:
        raise RuntimeUnavailableError(
            f"uv cannot list its interpreters: {error.message}", details=error.details
        ) from error
    except ValueError as error:
        raise RuntimeUnavailableError(f"uv's list of interpreters is not valid JSON: {error}") from error
    newest: dict[tuple[object, ...], Download] = {}
    for download in filter(None, map(_read_row, rows)):
        kind = (*download.kind, download.platform)
        if download.version >= OLDEST and (kind not in newest or newest[kind].version < download.version):
            newest[kind] = download
    return tuple(sorted(newest.values(), key=lambda download: (download.version, download.free_threaded)))


def _read_row(row: Mapping[str, Any]) -> Download | None:
    """Read a row of uv's list; ``None`` for prereleases and interpreters that are not supported."""
    version = re.fullmatch(r"3\.(\d+)\.(\d+)", str(row.get("version")))
    is_windows = row.get("os") == "windows"
    arch, libc = str(row.get("arch")), str(row.get("libc"))
    architecture = _WINDOWS_ARCHITECTURES.get(arch) if is_windows else _LINUX_ARCHITECTURES.get((arch, libc))
    if row.get("implementation") != "cpython" or version is None or architecture is None:
        return None
    if row.get("os") not in {"linux", "windows"} or row.get("variant") not in {"default", "freethreaded"}:
        return None
    return Download(
        key=str(row["key"]),
        version=(3, int(version[1]), int(version[2])),
        free_threaded=row["variant"] == "freethreaded",
        system="win32" if is_windows else "linux",
        architecture=architecture,
        libc="" if is_windows else "musl" if libc == "musl" else "glibc",
        url=str(row.get("url") or ""),
    )


def write_origin(directory: Path, download: Download) -> None:
    """Record which download an installation was made from."""
    (directory / _ORIGIN).write_text(download.to_json(), encoding="utf-8")


def cached_downloads() -> tuple[Download, ...]:
    """Return the downloads that are installed in the cache, by version."""
    downloads = []
    for file in sorted((cache.root() / "runtimes").glob(f"uv-*/{_ORIGIN}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            download = Download.from_json(file.read_text(encoding="utf-8"))
            if cache.is_complete(download.cache_key) and cache.path(download.cache_key) == file.parent:
                downloads.append(download)
    return tuple(sorted(downloads, key=lambda download: download.version))


def part(download: Download) -> Part:
    """Return a download as a part of targets. uv's catalog has no sizes: the server of the downloads is asked."""
    found = Part.of(download.cache_key, f"{download.key} from uv")
    return found if found.ready else replace(found, size=download_size(download.url))


def download_size(url: str) -> int | None:
    """Return the size of a file in bytes; ``None`` if its server does not say."""
    if mirror := os.environ.get("UV_PYTHON_INSTALL_MIRROR", ""):
        url = mirror.rstrip("/") + url.partition("/releases/download")[2]
    try:
        if url.startswith("file:"):
            return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path)).stat().st_size
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310  the scheme is uv's
        with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT) as answer:  # noqa: S310
            return int(answer.headers.get("Content-Length", ""))
    except (OSError, ValueError):
        return None


def unreachable_reason(url: str) -> str:
    """Return why uv's downloads cannot be reached; empty if they can. Takes seconds at most, and is cached.

    :param url: the address of one of them.
    """
    parts = urllib.parse.urlsplit(os.environ.get("UV_PYTHON_INSTALL_MIRROR", "") or url)
    if parts.scheme == "file":
        return ""  # uv reports a missing file itself.
    server = f"{parts.scheme}://{parts.netloc}"
    file = cache.root() / "archives" / f"uv-{cache.digest(server)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        cached = json.loads(file.read_text(encoding="utf-8"))
        if time.time() < float(cached["until"]):
            return str(cached["problem"])
    problem = ""
    if failure := _failure(server):
        problem = (
            f"the downloads at {server} cannot be reached ({failure}); set UV_PYTHON_INSTALL_MIRROR to a mirror of them"
        )
    # If the file cannot be written, the next run takes longer.
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        until = time.time() + (_UNREACHABLE_FOR if problem else _REACHABLE_FOR)
        side = file.with_suffix(f".{os.getpid()}")
        side.write_text(json.dumps({"until": until, "problem": problem}), encoding="utf-8")
        side.replace(file)
    return problem


def _failure(server: str) -> str:
    """Send a request to a server, through the proxies of the environment. Return why it failed; empty for any answer."""
    results: queue.SimpleQueue[str] = queue.SimpleQueue()

    def send() -> None:
        try:
            request = urllib.request.Request(server, method="HEAD")  # noqa: S310  the scheme is uv's
            with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT):  # noqa: S310
                results.put("")
        except urllib.error.HTTPError:
            results.put("")  # The server answered.
        except (OSError, ValueError) as error:
            results.put(str(getattr(error, "reason", error)))

    # In a thread, because the resolution of a name has no timeout.
    threading.Thread(target=send, daemon=True).start()
    try:
        return results.get(timeout=_ANSWER_TIMEOUT + 1)
    except queue.Empty:
        return "no answer"
