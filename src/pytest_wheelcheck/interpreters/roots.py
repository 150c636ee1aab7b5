"""Root file systems in the cache: unpacked packages of a distribution, or links to a root file system of the user.

An installation in the cache is a directory with a ``root`` that contains the C library, the interpreter, and a file with the
facts that the interpreter reported when the installation was made.
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

#: Packages that wheels may rely on and an interpreter does not depend on: libraries of the manylinux policies (PEP 513,
#: PEP 571, PEP 599).
LIBRARIES = ("libstdc++6", "libgcc-s1", "libatomic1", "zlib1g", "libexpat1")

#: Directories of packages that are removed, because nothing reads them.
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bash-completion")

#: The file with the facts of an installation.
_FACTS = "facts.json"


def tidy(root: Path, final: Path) -> None:
    """Make an unpacked root usable in the cache: merge ``/usr``, make links relative, correct the paths in Python's files.

    :param root: its directory.
    :param final: the directory that it will be moved to.
    """
    merge(root)
    for name in _UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    for parent, directories, files in os.walk(root):
        for link in (Path(parent, name) for name in (*directories, *files)):
            if link.is_symlink() and str(link.readlink()).startswith("/"):
                # On the host, an absolute link would lead to the host's own files.
                target = root / str(link.readlink()).lstrip("/")
                if target.exists():
                    link.unlink()
                    link.symlink_to(os.path.relpath(target, parent))
    for file in root.glob("usr/lib/python3*/_sysconfigdata*.py"):
        if file.is_symlink():
            continue
        # The directory in which ensurepip finds pip (Debian's patch of it).
        text = file.read_text(encoding="utf-8")
        changed = re.sub(r"(['\"])/usr/share/python-wheels/?\1", repr(str(final / "usr/share/python-wheels")), text)
        if changed != text:
            file.write_text(changed, encoding="utf-8")


def merge(root: Path) -> None:
    """Make ``/bin``, ``/lib`` and the like links to those of ``/usr``, as in Debian since 12 and Ubuntu since 20.04.

    Older packages have files in both. Since Debian 13 the links belong to a package that no interpreter depends on.
    """
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        old, new = root / name, root / "usr" / name
        if old.is_dir() and not old.is_symlink():
            for parent, directories, files in os.walk(old):
                target = new / Path(parent).relative_to(old)
                target.mkdir(parents=True, exist_ok=True)
                links = [directory for directory in directories if (Path(parent) / directory).is_symlink()]
                for file in (*files, *links):
                    (Path(parent) / file).replace(target / file)
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
    smoke_test: str,
    program: str | Path = "",
    library: str = "root/usr/lib",
    root: Path | None = None,
) -> None:
    """Compile the bytecode of an installation, run its interpreter, and store its facts.

    :param side: its directory.
    :param final: the directory that it will be moved to.
    :param offer: the offer that it was made for.
    :param starter: starts its interpreter.
    :param compiler: a native interpreter of the same minor version; ``None`` for the new one itself.
    :param stem: the end of the names of its executable and library directory, such as ``3.14t``.
    :param smoke_test: a program that the interpreter must be able to run.
    :param program: the executable, relative to *side*; ``root/usr/bin/python3.N`` if empty.
    :param library: the directory that contains ``python3.N``, relative to *side*.
    :param root: the root with its C library; ``root`` in *side* by default.
    :raises RuntimeUnavailableError: the interpreter does not run.
    """
    # For this run only: the launchers that are made later have a ``lib`` of their own.
    home = side / "trial"
    (home / "bin").mkdir(parents=True)
    (home / "lib").symlink_to(side / library, target_is_directory=True)
    root = root or side / "root"
    name = home / "bin" / f"python{stem}"
    argv = starter.trial_argv(
        platform=offer.platform, root=root, name=name, program=side / (program or f"root/usr/bin/python{stem}")
    )
    directory = side / library / f"{'pypy' if offer.implementation == 'pypy' else 'python'}{stem}"
    compiling: list[str | Path] = ["-I", "-m", "compileall", "-q", "-q", "-j", "0", "-s", side, "-p", final, directory]
    # The exit status is ignored, because a standard library may contain test data with invalid syntax.
    process.run([*([compiler] if compiler is not None else argv), *compiling], check=False)
    try:
        facts = query(name, argv)
        process.run([*argv, "-I", "-c", smoke_test])
    except WheelcheckError as error:
        raise RuntimeUnavailableError(
            f"the interpreter python{stem} for {offer.platform.architecture} does not work here",
            cause="the host's kernel or emulator is too old for it, or a library is missing",
            details=f"{error.message}\n{error.details}".strip(),
        ) from error
    if facts.libc == "musl" and facts.libc_version == (0, 0):
        # The loader reports the version (PEP 656), but the interpreter could not run it without the starter.
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
    """Return the installation that :func:`finish` completed. See there for the other parameters.

    :param extensible: see :class:`~pytest_wheelcheck.model.Installation`.
    :raises RuntimeUnavailableError: its facts are missing.
    """
    facts = facts_of(directory)
    if facts is None:
        raise RuntimeUnavailableError(
            f"{directory} is damaged",
            cause="files were removed from the cache",
            fix=f"remove {directory} and run again",
        )
    libc_version = facts.libc_version
    if root is not None and offer.libc_version > libc_version:
        # Its C library is in a root of its own, which may be newer than the one that it was made with.
        libc_version = offer.libc_version
    stem = stem or f"{facts.version[0]}.{facts.version[1]}{'t' if facts.free_threaded else ''}"
    measured = offer.measured(
        version=facts.version,
        free_threaded=facts.free_threaded,
        platform=Platform(system="linux", architecture=offer.platform.architecture, libc=facts.libc),
        libc_version=libc_version,
        abi=facts.abi,
    )
    return measured.installation(
        directory / (program or f"root/usr/bin/python{stem}"),
        library=directory / library,
        root=root or directory / "root",
        extensible=extensible,
    )


def facts_of(directory: Path) -> Facts | None:
    """Read the facts of an installation; ``None`` if it has none."""
    try:
        return facts_from_json((directory / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def upstream_version(text: str) -> tuple[int, int]:
    """Return major and minor version of a package's version such as ``2.36-9+deb12u14``; ``(0, 0)`` if it has none."""
    match = re.match(r"(?:\d+:)?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
