"""Finds modules by the listing of their folders, while the test tools are loaded.

An ordinary finder asks for the time of a folder at every import, and of every file thrice. On Windows, and under Wine
above all, each of these questions costs about a millisecond, and pytest has two hundred modules. Until the first
conftest is loaded nobody changes these folders, so one look at each is enough.
"""

from __future__ import annotations

import _imp
import marshal
import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import MAGIC_NUMBER, cache_from_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType
    from typing import Any

#: The flags of byte-code that is taken whatever its source is now (PEP 552), as the test tools have it.
_UNCHECKED = b"\1\0\0\0"


class _Loader(SourceFileLoader):
    """Takes unchecked byte-code without a look at the source."""

    def get_code(self, fullname: str) -> CodeType | None:
        """See :meth:`importlib.abc.InspectLoader.get_code`."""
        try:
            data = _read(cache_from_source(self.path))
        except (OSError, NotImplementedError):
            return super().get_code(fullname)
        if data[:8] != MAGIC_NUMBER + _UNCHECKED or _imp.check_hash_based_pycs == "always":
            return super().get_code(fullname)
        try:
            code: CodeType = marshal.loads(memoryview(data)[16:])  # noqa: S302  what any import does
        except (EOFError, ValueError, TypeError):
            # Cut off by a full disk.
            return self.source_to_code(self.get_data(self.path), self.path)
        # It was compiled elsewhere, and tracebacks show the file.
        _imp._fix_co_filename(code, self.path)
        return code


def _read(path: str) -> bytes:
    """Read a file without asking anything of it."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


_KINDS: list[tuple[str, Any]] = [
    *((suffix, ExtensionFileLoader) for suffix in EXTENSION_SUFFIXES),
    *((suffix, _Loader) for suffix in SOURCE_SUFFIXES),
    *((suffix, SourcelessFileLoader) for suffix in BYTECODE_SUFFIXES),
]


class Listing:
    """Finds in one folder, in the order of :class:`importlib.machinery.FileFinder`."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._look()
        except OSError as error:
            raise ImportError("%s is no folder" % path) from error

    def _look(self) -> None:
        self._folders: set[str] = set()
        self._files: set[str] = set()
        with os.scandir(self._path) as entries:
            for entry in entries:
                (self._folders if entry.is_dir() else self._files).add(entry.name)

    def invalidate_caches(self) -> None:
        """See :func:`importlib.invalidate_caches`: somebody has written a module."""
        try:
            self._look()
        except OSError:
            self._folders = self._files = set()

    def iter_modules(self, prefix: str = "") -> Iterable[tuple[str, bool]]:
        """List modules for :func:`pkgutil.iter_modules`."""
        import pkgutil

        found: Iterable[tuple[str, bool]] = pkgutil.iter_importer_modules(FileFinder(self._path), prefix)
        return found

    def find_spec(self, fullname: str, target: object = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.PathEntryFinder.find_spec`."""
        tail = fullname.rpartition(".")[2]
        folder = os.path.join(self._path, tail)
        if tail in self._folders:
            found = _listing(folder)
            for suffix, loader in _KINDS:
                if found is not None and "__init__" + suffix in found._files:
                    return _spec(fullname, loader, os.path.join(folder, "__init__" + suffix), folder)
        for suffix, loader in _KINDS:
            if tail + suffix in self._files:
                return _spec(fullname, loader, folder + suffix, None)
        if tail in self._folders:
            spec = ModuleSpec(fullname, None)
            spec.submodule_search_locations = [folder]
            return spec
        return None


def _listing(folder: str) -> Listing | None:
    """Give the listing of a folder, made once."""
    if folder not in sys.path_importer_cache:
        try:
            sys.path_importer_cache[folder] = Listing(folder)  # type: ignore[assignment]
        except ImportError:
            return None
    found = sys.path_importer_cache[folder]
    return found if isinstance(found, Listing) else None


def _spec(fullname: str, loader: Any, path: str, folder: str | None) -> ModuleSpec:
    spec = ModuleSpec(fullname, loader(fullname, path), origin=path)
    spec.has_location = True
    if folder is not None:
        spec.submodule_search_locations = [folder]
    return spec


def begin() -> None:
    """Find by listings from now on."""
    sys.path_hooks.insert(0, Listing)  # type: ignore[arg-type]
    sys.path_importer_cache.clear()


def end() -> None:
    """Find as ever again."""
    if Listing in sys.path_hooks:
        sys.path_hooks.remove(Listing)  # type: ignore[arg-type]
        sys.path_importer_cache.clear()
