"""Root file systems in the cache: unpacked packages of a distribution, or links to the root of somebody else.

An installation in the cache is a directory that holds a ``root`` with the C library, the interpreter, and a file with the
facts that were measured when it was made.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.interpreters.base import Offer, Starter
from pytest_wheelcheck.interpreters.facts import Facts, facts_from_json, facts_to_json, query
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import process

#: Packages besides the interpreter's own that wheels may rely on: libraries of the manylinux policies (PEP 513, PEP 571,
#: PEP 599) that an interpreter does not bring by itself.
LIBRARIES = ("libstdc++6", "libgcc-s1", "libatomic1", "zlib1g", "libexpat1")

#: Files that nobody reads here.
_NOT_KEPT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bash-completion")

#: The file with the facts that were measured when an installation was made.
_FACTS = "facts.json"


def tidy(root: Path, final: Path) -> None:
    """Make an unpacked root usable where it is: the links of the merged ``/usr``, the paths that Python recorded.

    :param root: where it is now.
    :param final: where it will be.
    """
    merge(root)
    for name in _NOT_KEPT:
        shutil.rmtree(root / name, ignore_errors=True)
    for parent, folders, files in os.walk(root):
        for link in (Path(parent, name) for name in (*folders, *files)):
            if link.is_symlink() and str(link.readlink()).startswith("/"):
                # Seen from the host, it would lead to the host's own files.
                inside = root / str(link.readlink()).lstrip("/")
                if inside.exists():
                    link.unlink()
                    link.symlink_to(os.path.relpath(inside, parent))
    for file in root.glob("usr/lib/python3*/_sysconfigdata*.py"):
        if file.is_symlink():
            continue
        # Where ensurepip finds pip (Debian's patch of it).
        text = file.read_text(encoding="utf-8")
        changed = re.sub(r"(['\"])/usr/share/python-wheels/?\1", repr(str(final / "usr/share/python-wheels")), text)
        if changed != text:
            file.write_text(changed, encoding="utf-8")


def merge(root: Path) -> None:
    """Make ``/lib`` and its kin links to those of ``/usr``, as on every Debian since 12 and Ubuntu since 20.04.

    Older packages have files in both, and from Debian 13 on the links belong to a package that nothing here needs.
    """
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        old, new = root / name, root / "usr" / name
        if old.is_dir() and not old.is_symlink():
            for parent, folders, files in os.walk(old):
                place = new / Path(parent).relative_to(old)
                place.mkdir(parents=True, exist_ok=True)
                for file in (*files, *(each for each in folders if (Path(parent) / each).is_symlink())):
                    (Path(parent) / file).replace(place / file)
            shutil.rmtree(old)
        if not old.exists() and new.is_dir():
            old.symlink_to(f"usr/{name}", target_is_directory=True)


def finish(
    side: Path,
    final: Path,
    offer: Offer,
    starter: Starter,
    compiler: Path | None,
    *,
    stem: str,
    smoke: str,
    program: str | Path = "",
    library: str = "root/usr/lib",
    root: Path | None = None,
) -> None:
    """Compile the bytecode of an installation, try it, and store its facts.

    :param side: where it is now: ``root`` with the C library, and the rest.
    :param final: where it will be.
    :param offer: what it should be.
    :param compiler: a native interpreter of the same minor version; ``None`` for the new one itself.
    :param program: the real interpreter, relative to *side*; ``root/usr/bin/python3.N`` if empty.
    :param library: the directory that holds ``python3.N``, relative to *side*.
    :param root: where its C library is; ``root`` below *side* if left out.
    :raises RuntimeUnavailableError: it does not work.
    """
    # Only for the trial: a launcher has a ``lib`` of its own.
    home = side / "trial"
    (home / "bin").mkdir(parents=True)
    (home / "lib").symlink_to(side / library, target_is_directory=True)
    root = root or side / "root"
    name = home / "bin" / f"python{stem}"
    argv = starter.trial_argv(
        platform=offer.platform, root=root, name=name, program=side / (program or f"root/usr/bin/python{stem}")
    )
    directory = side / library / f"python{stem}"
    compiling: list[str | Path] = ["-I", "-m", "compileall", "-q", "-q", "-j", "0", "-s", side, "-p", final, directory]
    # Test data of a library may hold files with invalid syntax: no reason to give up.
    process.run([*([compiler] if compiler is not None else argv), *compiling], check=False)
    try:
        facts = query(name, argv)
        process.run([*argv, "-I", "-c", smoke])
    except WheelcheckError as error:
        raise RuntimeUnavailableError(
            f"the interpreter python{stem} for {offer.platform.architecture} does not work here",
            cause="it needs a newer kernel or emulator than this host has, or a library is missing",
            details=f"{error.message}\n{error.details}".strip(),
        ) from error
    if facts.libc == "musl" and facts.libc_version == (0, 0):
        # The interpreter could not run its loader, which reports the version (PEP 656): the kernel would have to.
        loader = next((root / "lib").glob("ld-musl-*.so.1"))
        output = process.run(
            starter.trial_argv(platform=offer.platform, root=root, name=loader, program=loader), check=False
        ).stderr
        facts = replace(facts, libc_version=upstream_version(output.partition("Version ")[2]))
    shutil.rmtree(home)
    (side / _FACTS).write_text(facts_to_json(facts), encoding="utf-8")


def installation_in(
    directory: Path,
    offer: Offer,
    *,
    program: str | Path = "",
    library: str = "root/usr/lib",
    stem: str = "",
    root: Path | None = None,
    extensible: bool = False,
) -> Installation:
    """Return the installation that :func:`finish` completed.

    :param program: as for :func:`finish`.
    :param library: as for :func:`finish`.
    :param root: as for :func:`finish`.
    :param extensible: see :class:`~pytest_wheelcheck.model.Installation`.
    :raises RuntimeUnavailableError: something of it is missing.
    """
    facts = facts_of(directory)
    if facts is None:
        raise RuntimeUnavailableError(
            f"{directory} is damaged",
            cause="something was removed from the cache",
            fix=f"remove {directory}, run again",
        )
    libc_version = facts.libc_version
    if root is not None and offer.libc_version > libc_version:
        # Its C library is not its own, and may be a newer one by now.
        libc_version = offer.libc_version
    stem = stem or f"{facts.version[0]}.{facts.version[1]}{'t' if facts.free_threaded else ''}"
    measured = offer.measured(
        version=facts.version,
        free_threaded=facts.free_threaded,
        platform=Platform(system="linux", architecture=offer.platform.architecture, libc=facts.libc),
        libc_version=libc_version,
    )
    return measured.installation(
        directory / (program or f"root/usr/bin/python{stem}"),
        library=directory / library,
        root=root or directory / "root",
        extensible=extensible,
    )


def facts_of(folder: Path) -> Facts | None:
    """Read what was learnt when an installation was made."""
    try:
        return facts_from_json((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def upstream_version(text: str) -> tuple[int, int]:
    """Read major and minor of an upstream version: ``2.36-9+deb12u14``."""
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
