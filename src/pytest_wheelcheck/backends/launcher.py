"""Launchers: small shell scripts that start an interpreter, and can be used like one.

A launcher starts a program through an emulator or a dynamic loader, and passes on the path by which it was called itself. So
``sys.executable`` is the launcher, a virtual environment made with it has the right prefix, and programs that are started
through ``sys.executable`` are launched in the same way.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.interpreters.architectures import Architecture, host_architecture
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.system import cache

#: Increase when the directories of launchers change.
_GENERATION = 3

#: The file in a launcher's directory that lists the paths it depends on.
_PATHS = "paths.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How programs of one root are started.

    :param before: the arguments before the path by which the launcher was called: an emulator or loader, its options, and
        last the option that names the program (``-0`` or ``--argv0``).
    :param after: the arguments between that path and the program.
    :param paths: files and directories that a program needs to be started.
    """

    before: tuple[str, ...]
    after: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()

    def script(self, program: Path) -> str:
        """Return the script that starts *program*."""
        before = shlex.join(self.before)
        after = f" {shlex.join(self.after)}" if self.after else ""
        return f'#!/bin/sh\nexec {before} "$0"{after} {shlex.quote(str(program))} "$@"\n'

    def argv(self, name: Path, program: Path) -> list[str | Path]:
        """Return the argv that starts *program*.

        :param name: the path that the program takes for its own.
        """
        return [*self.before, name, *self.after, program]

    def write(self, path: Path, program: Path) -> None:
        """Write the script that starts *program* to *path*."""
        path.write_text(self.script(program), encoding="utf-8")
        path.chmod(0o755)


def loaded(root: Path, architecture: Architecture, directories: Sequence[Path] = ()) -> Launch:
    """Return how programs are started by a root's own dynamic loader (``ld.so(8)``), on the host's kernel and processor.

    :param directories: the directories of its libraries; empty for the usual ones of the root.
    """
    if not directories:
        names = (
            f"usr/lib/{architecture.multiarch}",
            f"lib/{architecture.multiarch}",
            "usr/lib64",
            "usr/lib",
            "usr/local/lib",
        )
        directories = [root / name for name in names if (root / name).is_dir()]
    musl = next((root / "lib").glob("ld-musl-*.so.1"), None)
    # musl's loader reads no cache (ldso/dynlink.c).
    before = [str(root / architecture.loader), "--inhibit-cache"] if musl is None else [str(musl)]
    before.append("--argv0")
    host = host_architecture()
    if host is not None and host.name != architecture.name and (setarch := shutil.which("setarch")):
        # uname then reports the architecture of the program (personality(2), PER_LINUX32).
        before = [setarch, architecture.name, *before]
    return Launch(
        before=tuple(before),
        after=("--library-path", ":".join(map(str, directories))),
        paths=(root, *directories),
    )


def provision(launch: Launch, installation: Installation, *, name: str) -> Path:
    """Return the launcher of an installation; make it first if necessary.

    Its directory looks like an installation: it contains ``bin/python3.N``, and ``lib`` (``sys.platlibdir``) as a link.

    :param name: the beginning of its name in the cache.
    :returns: path of the launcher.
    """
    program, library, stem = installation.program, installation.library, installation.stem

    def make(side: Path) -> None:
        _write(side / "bin", launch, program, stem)
        for directory in {"lib", library.name if library.name == "lib64" else "lib"}:
            (side / directory).symlink_to(library, target_is_directory=True)
        share = library.parent / "share"
        if share.is_dir():
            # The pip of Debian 11 searches it for files that it needs.
            (side / "share").symlink_to(share, target_is_directory=True)
        paths = [str(path) for path in (program, library, *launch.paths)]
        (side / _PATHS).write_text(json.dumps(paths), encoding="utf-8")

    directory = cache.provision(f"launchers/{name}-{_suffix(launch, installation)}", make)
    return directory / "bin" / f"python{stem}"


def _suffix(launch: Launch, installation: Installation) -> str:
    return cache.digest(str(_GENERATION), launch.script(installation.program), str(installation.library))


def present(launch: Launch, installation: Installation) -> bool:
    """Return whether the cache contains this launcher, under any name."""
    suffix = _suffix(launch, installation)
    directories = (cache.root() / "launchers").glob(f"*-{suffix}")
    return any(cache.find(f"launchers/{directory.name}") for directory in directories)


def broken() -> Iterator[str]:
    """Yield the cache keys of launchers whose interpreter or libraries were removed from the cache."""
    for file in (cache.root() / "launchers").glob(f"*/{_PATHS}"):
        if file.parent.name.startswith("."):
            continue  # Another run is making it, or was killed while it made it.
        paths = [Path(text) for text in json.loads(file.read_text(encoding="utf-8"))]
        if not all(path.exists() for path in paths if path.is_relative_to(cache.root())):
            yield f"launchers/{file.parent.name}"


def _write(directory: Path, launch: Launch, program: Path, stem: str) -> None:
    """Write a launcher, and links to it by the usual other names."""
    directory.mkdir(parents=True, exist_ok=True)
    python = directory / f"python{stem}"
    launch.write(python, program)
    for alias in dict.fromkeys(("python3", "python", f"python{stem.removesuffix('t')}")):
        if not (directory / alias).exists():
            (directory / alias).symlink_to(python.name)
