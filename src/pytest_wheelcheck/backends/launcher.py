"""The launchers: small shell scripts that are interpreters.

A launcher starts a program through an emulator or a dynamic loader, and hands on the path by which it was itself
called. So ``sys.executable`` is the launcher, a virtual environment made from it has the right prefix, and what the
program starts through ``sys.executable`` is launched in the same way.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.interpreters.architectures import Architecture, host_architecture
from pytest_wheelcheck.system import cache

#: Bump when the folders of launchers change.
_GENERATION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How programs of one root are started.

    :param before: the words before the path by which the launcher was called: an emulator or loader, its options, and
        last the one that names the program (``-0`` or ``--argv0``).
    :param after: the words between that path and the program.
    """

    before: tuple[str, ...]
    after: tuple[str, ...] = ()

    def text(self, program: Path) -> str:
        """Give the script that starts *program*."""
        words = shlex.join(self.before)
        more = f" {shlex.join(self.after)}" if self.after else ""
        return f'#!/bin/sh\nexec {words} "$0"{more} {shlex.quote(str(program))} "$@"\n'

    def argv(self, name: Path, program: Path) -> list[str | Path]:
        """Give the same as words: *name* is what the program takes for its own path."""
        return [*self.before, name, *self.after, program]


def emulated(qemu: Path, root: Path, flags: Sequence[str] = ()) -> Launch:
    """Launch through QEMU's user-mode emulator.

    :param qemu: the emulator.
    :param root: where the program's absolute paths are looked for first: its loader, libraries and data.
    :param flags: further options, such as ``-cpu``.
    """
    return Launch(before=(str(qemu), *flags, "-L", str(root), "-0"))


def loaded(root: Path, architecture: Architecture, folders: Sequence[Path]) -> Launch:
    """Launch through the root's own dynamic loader (``ld.so(8)``), on the host's kernel and processor.

    :param folders: where its libraries are.
    """
    musl = next((root / "lib").glob("ld-musl-*.so.1"), None)
    # musl's loader reads no cache (ldso/dynlink.c).
    before = [str(root / architecture.loader), "--inhibit-cache"] if musl is None else [str(musl)]
    before.append("--argv0")
    at = host_architecture()
    if at is not None and at.name != architecture.name and (setarch := shutil.which("setarch")):
        # So that uname tells the architecture of the program (personality(2), PER_LINUX32).
        before = [setarch, architecture.name, *before]
    return Launch(before=tuple(before), after=("--library-path", ":".join(map(str, folders))))


def provision(launch: Launch, program: Path, library: Path, *, name: str, stem: str) -> Path:
    """Make a folder that looks like an installation: ``bin/python3.N``, and ``lib`` (``sys.platlibdir``) as a link.

    :param program: the real interpreter, final path.
    :param library: what ``lib`` leads to.
    :param name: for people who look into the cache.
    :param stem: ``3.11`` or ``3.14t``.
    :returns: path of the launcher.
    """
    text = launch.text(program)

    def make(side: Path) -> None:
        write(side / "bin", text, stem)
        for folder in {"lib", library.name if library.name == "lib64" else "lib"}:
            (side / folder).symlink_to(library, target_is_directory=True)
        share = library.parent / "share"
        if share.is_dir():
            # The pip of Debian 11 looks there for what it needs.
            (side / "share").symlink_to(share, target_is_directory=True)

    folder = cache.provision(f"launchers/{name}-{_ending(text, library)}", make)
    return folder / "bin" / f"python{stem}"


def _ending(text: str, library: Path) -> str:
    return cache.digest(str(_GENERATION), text, str(library))


def root_of(launch: tuple[tuple[str, ...], ...]) -> Path:
    """Tell the root of a launch, in the form of :attr:`~pytest_wheelcheck.model.Runtime.launch`."""
    before = launch[0]
    if "-L" in before:
        return Path(before[before.index("-L") + 1])
    # Its own loader is named absolutely, in a folder of its root.
    return next(Path(word) for word in before if "/ld" in word).parent.parent


def program_of(python: Path) -> Path:
    """Tell which program a launcher starts."""
    line = python.read_text(encoding="utf-8").splitlines()[1]
    return Path(shlex.split(line)[-2])


def present(launch: Launch, program: Path, library: Path) -> bool:
    """Tell whether :func:`provision` has made this launcher before."""
    ending = _ending(launch.text(program), library)
    return any(cache.find(f"launchers/{each.name}") for each in (cache.root() / "launchers").glob(f"*-{ending}"))


def write(folder: Path, text: str, stem: str) -> Path:
    """Write a launcher with its usual other names."""
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / f"python{stem}"
    python.write_text(text, encoding="utf-8")
    python.chmod(0o755)
    for alias in dict.fromkeys(("python3", "python", f"python{stem.removesuffix('t')}")):
        if not (folder / alias).exists():
            (folder / alias).symlink_to(python.name)
    return python
