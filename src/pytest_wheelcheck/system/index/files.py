"""The files of a project on the package index, with pip's or uv's own configuration of indexes.

pip asks the index (:mod:`.client`), since it knows proxies, certificates, ``netrc`` and keyrings. Where uv is configured with
indexes of its own, pip gets those.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import ProcessError, WheelcheckError
from pytest_wheelcheck.system import cache, pip_config, process, progress, uv_config
from pytest_wheelcheck.system.pip import embedded_pip
from pytest_wheelcheck.system.uv_config import InstallSettings

#: Seconds for a listing, and for all files of a release.
_LIST_DEADLINE, _FETCH_DEADLINE = 300.0, 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFile:
    """A file on the index.

    :param name: its name, without any check.
    :param url: its address.
    :param sha256: hexadecimal; empty if the index has none.
    :param size: bytes; 0 if the index does not say.
    :param yanked: installers ignore it (PEP 592).
    """

    name: str
    url: str
    sha256: str
    size: int
    yanked: bool


class PackageIndexError(WheelcheckError):
    """The index cannot be asked, or does not have what was requested."""


@functools.cache
def list_files(project: str, settings: InstallSettings) -> tuple[IndexFile, ...]:
    """List the files of a project. Empty if the index does not have it. A process asks once for each project.

    :param project: its normalized name.
    :raises PackageIndexError: the index cannot be asked.
    """
    answer = _ask({"list": project}, settings, _LIST_DEADLINE)
    return tuple(IndexFile(**entry) for entry in answer["files"])


def fetch(files: Sequence[IndexFile], settings: InstallSettings, what: str) -> list[Path]:
    """Download files into the cache, with their digests verified.

    :param files: their names are those of wheels.
    :param what: for messages, such as ``rpds-py 0.30.0``.
    :returns: the path of each.
    :raises PackageIndexError: a file cannot be downloaded, or has another digest.
    """
    for file in files:
        if not file.sha256:
            raise PackageIndexError(
                f"{file.name} cannot be verified: the index has no SHA-256 for it",
                fix="download it by another way that you trust, and pass the file to --wheel",
            )
    missing = [file for file in files if not cache.is_complete(_key(file))]
    if missing:
        total = sum(file.size for file in missing)
        size = f" ({total / 1e6:.1f} MB)" if total else ""
        progress.log.info("%s: downloading %d wheel%s%s", what, len(missing), "s" * (len(missing) > 1), size)
        with tempfile.TemporaryDirectory(prefix="wheelcheck-") as scratch:
            paths = [Path(scratch, str(number)) for number in range(len(missing))]
            wanted = [
                {"url": file.url, "path": str(path), "size": file.size}
                for file, path in zip(missing, paths, strict=True)
            ]
            with progress.receiving(f"downloading {what}", Path(scratch), total):
                errors = _ask({"fetch": wanted}, settings, _FETCH_DEADLINE)["errors"]
            for file, path, error in zip(missing, paths, errors, strict=True):
                if error:
                    raise PackageIndexError(
                        f"{file.name} cannot be downloaded",
                        cause="the index, or a proxy on the way, does not send the file",
                        fix="try again; pip's and uv's configuration name the index",
                        details=error,
                    )
                _keep(file, path)
    found = []
    for file in files:
        directory = cache.find(_key(file))
        if directory is None:
            raise PackageIndexError(f"{file.name} was removed from the cache meanwhile", fix="repeat the run")
        found.append(directory / file.name)
    return found


def _key(file: IndexFile) -> str:
    return f"published/{file.sha256[:40]}"


def _keep(file: IndexFile, path: Path) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    if digest.hexdigest() != file.sha256:
        raise PackageIndexError(
            f"{file.name} does not have the digest that the index names",
            cause="the index, or a proxy, changed the file",
            fix="do not use it; inform the maintainers of the index",
        )

    def move(side: Path) -> None:
        shutil.move(path, side / file.name)

    cache.provision(_key(file), move)


def _ask(request: dict[str, Any], settings: InstallSettings, deadline: float) -> dict[str, Any]:
    request["arguments"] = _pip_arguments(settings)
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as scratch:
        file = Path(scratch, "request")
        file.write_text(json.dumps(request), encoding="utf-8")
        argv: list[str | Path] = [
            sys.executable,
            "-I",
            Path(__file__).with_name("client.py"),
            str(embedded_pip() or ""),
            file,
        ]
        try:
            completed = process.run(argv, timeout=deadline, end_with_parent=True, max_output=256 << 20)
            answer: dict[str, Any] = json.loads(completed.stdout.rstrip().rpartition("\n")[2])
        except (ProcessError, ValueError) as error:
            answer = {"problem": getattr(error, "details", "") or str(error)}
    if "problem" in answer:
        raise PackageIndexError(
            "the package index cannot be asked",
            cause="it cannot be reached, or refuses the request",
            fix="check the network and the index in pip's or uv's configuration, or name one with --wheel-index",
            details=str(answer["problem"]),
        )
    return answer


def _pip_arguments(settings: InstallSettings) -> list[str]:
    """Return pip's options for uv's indexes; none if only pip is configured, since it reads its configuration itself."""
    environ = os.environ
    found = uv_config.arguments(settings, environ, pip_config.read(environ))
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or ""
    extra = [*environ.get("UV_INDEX", "").split(), *environ.get("UV_EXTRA_INDEX_URL", "").split()]
    found += uv_config.index_arguments(environ, Path.cwd())
    pairs = list(itertools.pairwise(found))
    default = next((value for name, value in pairs if name in ("--default-index", "--index-url")), default)
    extra = [*(value for name, value in pairs if name in ("--index", "--extra-index-url")), *extra]
    return [
        *([f"--index-url={_address(default)}"] if default else []),
        *(f"--extra-index-url={_address(url)}" for url in dict.fromkeys(extra)),
    ]


def _address(index: str) -> str:
    """Return the address of an index of uv, which may have a name in front: ``NAME=URL``."""
    name, equals, url = index.partition("=")
    return url if equals and "://" not in name else index
