"""Offers the interpreters of sysroots, and makes them runnable without a change to the user's directory.

:mod:`.link_farm` makes a root in the cache that leads to the libraries of the user's root file
system. Only the standard library is copied, so that its bytecode can be compiled next to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES
from pytest_wheelcheck.interpreters.base import Answer, NativePython, Offer, Request, Starter
from pytest_wheelcheck.interpreters.directory import link_farm
from pytest_wheelcheck.interpreters.directory.sysroots import Sysroot, SysrootInterpreter
from pytest_wheelcheck.interpreters.packages import c_library
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.published import standard_library
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.setting_lines import value_line
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.progress import step

#: Parts of a standard library that are not copied.
_NOT_COPIED = (
    "site-packages",
    "dist-packages",
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "EXTERNALLY-MANAGED",
)


class DirectoryProvider:
    """Offers the interpreters of the user's sysroots, in preference to all others.

    :param native_python: returns native interpreters, which compile bytecode for those of other architectures.
    :param offline: download nothing.
    :param apt_source: a repository to search for a C library before the host's, as a line of ``sources.list(5)``.
    """

    name = "directory"

    def __init__(
        self, sysroots: Sequence[Sysroot], native_python: NativePython, *, offline: bool = False, apt_source: str = ""
    ) -> None:
        self._sysroots = sysroots
        self._native_python = native_python
        self._offline = offline
        self._apt_source = apt_source

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.costly`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None or not request.platform.is_linux:
            return Answer()
        offers: list[Offer] = []
        reasons: dict[str, None] = {}
        for sysroot in self._sysroots:
            if sysroot.architecture != request.platform.architecture:
                continue
            for interpreter in sysroot.interpreters:
                if request.platform.libc not in {"", interpreter.libc}:
                    reasons[f"the CPython in {sysroot.path} is for {interpreter.libc}"] = None
                    continue
                libc_version = interpreter.libc_version
                if interpreter.root is None:
                    package = self._c_library(sysroot, interpreter, request.minimum_libc)
                    if package is None:
                        reasons[_no_c_library(sysroot, interpreter)] = None
                        continue
                    libc_version = package.version
                offers.append(self._offer(sysroot, interpreter, libc_version))
        return Answer.of(offers, reason="; ".join(reasons))

    def _interpreter(self, offer: Offer) -> tuple[Sysroot, SysrootInterpreter]:
        return next(
            (sysroot, interpreter)
            for sysroot in self._sysroots
            for interpreter in sysroot.interpreters
            if str(interpreter.program) == offer.key and sysroot.architecture == offer.platform.architecture
        )

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """See :meth:`.base.Provider.parts`: it is there, but an installation of uv or pyenv has no C library."""
        sysroot, interpreter = self._interpreter(offer)
        package = None if interpreter.root else self._c_library(sysroot, interpreter, offer.libc_version)
        return () if package is None else (c_library.part(package),)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        sysroot, interpreter = self._interpreter(offer)
        root: Path | None = None
        if interpreter.root is None:
            package = self._c_library(sysroot, interpreter, offer.libc_version)
            if package is None:
                raise RuntimeUnavailableError(
                    _no_c_library(sysroot, interpreter),
                    fix="name a whole root file system, or a repository that has it: "
                    + value_line("apt_source", "deb [signed-by=FILE] URI SUITE main"),
                )
            root = c_library.provide(package)
        key = interpreter.cache_key(sysroot.architecture)
        directory = cache.provision(
            key, lambda side: self._make(sysroot, interpreter, offer, starter, root, cache.path(key), side)
        )
        return roots.installation_in(
            directory,
            offer,
            program=interpreter.program,
            library=interpreter.library.parent.name,
            stem=interpreter.stem,
            root=root,
        )

    def _make(
        self,
        sysroot: Sysroot,
        interpreter: SysrootInterpreter,
        offer: Offer,
        starter: Starter,
        root: Path | None,
        final: Path,
        side: Path,
    ) -> None:
        """Make the installation.

        :param root: the root with the C library, if the interpreter comes without one.
        :param final: the directory that the installation will be in.
        :param side: the directory to make it in.
        """
        library = interpreter.library.parent.name
        with step(f"CPython {interpreter.stem} for {sysroot.architecture} of {sysroot.path}", side, "preparing"):
            if interpreter.root is not None:
                link_farm.make(interpreter.root, side / "root")
            _copy_library(interpreter, side / library / interpreter.library.name)
            if library != "lib":
                (side / "lib").symlink_to(library)
            roots.finish(
                side,
                final,
                offer,
                starter,
                self._native_python(interpreter.version[:2], interpreter.free_threaded),
                stem=interpreter.stem,
                smoke_test="import ctypes, sys, zlib",
                program=interpreter.program,
                library=library,
                root=root,
            )

    def _c_library(
        self, sysroot: Sysroot, interpreter: SysrootInterpreter, minimum: tuple[int, int]
    ) -> c_library.LibcPackage | None:
        try:
            repositories = [repository for repository, _ in standard_library.repositories(self._apt_source)]
        except RuntimeUnavailableError:
            repositories = []
        architecture = ARCHITECTURES[sysroot.architecture]
        return c_library.find(architecture, interpreter.libc, repositories, offline=self._offline, minimum=minimum)

    def _offer(self, sysroot: Sysroot, interpreter: SysrootInterpreter, libc_version: tuple[int, int]) -> Offer:
        return Offer.of_cpython(
            provider=self.name,
            version=interpreter.version,
            free_threaded=interpreter.free_threaded,
            platform=Platform(system="linux", architecture=sysroot.architecture, libc=interpreter.libc),
            libc_version=libc_version,
            how=str(interpreter.program),
            key=str(interpreter.program),
            rank=-1,
            fixed_libc=True,
        )


def _no_c_library(sysroot: Sysroot, interpreter: SysrootInterpreter) -> str:
    return (
        f"{interpreter.program} comes without a C library, and no package repository has {interpreter.libc} for "
        f"{sysroot.architecture}"
    )


def _copy_library(interpreter: SysrootInterpreter, target: Path) -> None:
    """Copy the standard library without installed packages. Its extension modules are linked.

    :param target: the directory to make.
    """
    root = interpreter.root or interpreter.library
    target.mkdir(parents=True)
    (target / "site-packages").mkdir()
    for name in link_farm.entry_names(interpreter.library):
        if name in _NOT_COPIED:
            continue
        source = link_farm.resolve(root, interpreter.library / name)
        if source is None:
            continue
        if name == "lib-dynload":
            (target / name).symlink_to(source)
        elif source.is_dir():
            shutil.copytree(
                source, target / name, ignore=shutil.ignore_patterns(*_NOT_COPIED), ignore_dangling_symlinks=True
            )
        else:
            shutil.copyfile(source, target / name)
    prefix = interpreter.library.parent.parent
    if prefix != interpreter.root and prefix.name != "usr":
        # An installation with its own prefix may have libraries of its own, such as libpython, next to the standard library.
        for name in link_farm.entry_names(interpreter.library.parent):
            if name.endswith(".so") or ".so." in name:
                (target.parent / name).symlink_to(interpreter.library.parent / name)
