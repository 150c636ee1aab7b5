"""Finds modules by listing each directory once, while the test tools are loaded.

The standard finder calls ``stat`` on the directory at each import, and on each file three times. On Windows, each call
takes up to a millisecond, and pytest has two hundred modules. Nothing changes these directories until
the first conftest is loaded, so one listing of each is enough.
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

#: Flags of bytecode that is valid without a check of its source (PEP 552). The test tools are compiled this way.
_UNCHECKED = b"\1\0\0\0"


class _Loader(SourceFileLoader):
    """Loads unchecked bytecode without a call of ``stat`` on the source."""

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
            # Truncated by a full disk.
            return self.source_to_code(self.get_data(self.path), self.path)
        # It was compiled under another path, and tracebacks show the path.
        _imp._fix_co_filename(code, self.path)
        return code


def _read(path: str) -> bytes:
    """Read a file without a call of ``stat``."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


_LOADERS: list[tuple[str, Any]] = [
    *((suffix, ExtensionFileLoader) for suffix in EXTENSION_SUFFIXES),
    *((suffix, _Loader) for suffix in SOURCE_SUFFIXES),
    *((suffix, SourcelessFileLoader) for suffix in BYTECODE_SUFFIXES),
]


class DirectoryFinder:
    """Finds modules in one directory, in the order of :class:`importlib.machinery.FileFinder`."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._scan()
        except OSError as error:
            raise ImportError("%s is not a directory" % path) from error

    def _scan(self) -> None:
        self._directories: set[str] = set()
        self._files: set[str] = set()
        with os.scandir(self._path) as entries:
            for entry in entries:
                (self._directories if entry.is_dir() else self._files).add(entry.name)

    def invalidate_caches(self) -> None:
        """See :func:`importlib.invalidate_caches`: a module may have been written."""
        try:
            self._scan()
        except OSError:
            self._directories = self._files = set()

    def iter_modules(self, prefix: str = "") -> Iterable[tuple[str, bool]]:
        """List modules for :func:`pkgutil.iter_modules`."""
        import pkgutil

        found: Iterable[tuple[str, bool]] = pkgutil.iter_importer_modules(FileFinder(self._path), prefix)
        return found

    def find_spec(self, fullname: str, target: object = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.PathEntryFinder.find_spec`."""
        tail = fullname.rpartition(".")[2]
        path = os.path.join(self._path, tail)
        if tail in self._directories:
            package = _cached_finder(path)
            for suffix, loader in _LOADERS:
                if package is not None and "__init__" + suffix in package._files:
                    return _spec(fullname, loader, os.path.join(path, "__init__" + suffix), path)
        for suffix, loader in _LOADERS:
            if tail + suffix in self._files:
                return _spec(fullname, loader, path + suffix, None)
        if tail in self._directories:
            spec = ModuleSpec(fullname, None)
            spec.submodule_search_locations = [path]
            return spec
        return None


def _cached_finder(path: str) -> DirectoryFinder | None:
    """Return the finder of a directory, which is created once."""
    if path not in sys.path_importer_cache:
        try:
            sys.path_importer_cache[path] = DirectoryFinder(path)  # type: ignore[assignment]
        except ImportError:
            return None
    finder = sys.path_importer_cache[path]
    return finder if isinstance(finder, DirectoryFinder) else None


def _spec(fullname: str, loader: Any, path: str, package: str | None) -> ModuleSpec:
    spec = ModuleSpec(fullname, loader(fullname, path), origin=path)
    spec.has_location = True
    if package is not None:
        spec.submodule_search_locations = [package]
    return spec


def install() -> None:
    """Find modules with :class:`DirectoryFinder` from now on."""
    sys.path_hooks.insert(0, DirectoryFinder)  # type: ignore[arg-type]
    sys.path_importer_cache.clear()


def uninstall() -> None:
    """Find modules with the standard finders again."""
    if DirectoryFinder in sys.path_hooks:
        sys.path_hooks.remove(DirectoryFinder)  # type: ignore[arg-type]
        sys.path_importer_cache.clear()
