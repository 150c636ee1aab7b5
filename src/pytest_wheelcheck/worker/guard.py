"""The wheel is what is tested: names of the wheel resolve from its environment only.

This file is copied into the environment of a target and started there by a ``.pth`` line, in every process of that
environment: the worker itself, and whatever a test starts with ``subprocess`` or ``multiprocessing``. It imports next
to nothing, because every such start pays for it.

``WHEELCHECK_GUARD`` names a file of NUL-separated entries ``KEY=VALUE``:

=============== ====================================================================
``name``        a top-level name of the wheel (repeated)
``site``        a site-packages folder of the environment (repeated)
``root``        a folder of the project from which test folders may be grafted (repeated)
``dist``        the normalised name of the wheel's distribution
``overlay``     a folder to put behind everything else on ``sys.path`` (repeated)
=============== ====================================================================
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    # The module typing is not loaded in targets: every start there would pay for it.
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

#: Components that name a test module or folder: these alone may come from the source tree below a name of the wheel.
_TEST_PREFIXES = ("test_", "tests_")
_TEST_SUFFIXES = ("_test", "_tests")
_TEST_NAMES = ("test", "tests", "conftest")


def is_test_name(component: str) -> bool:
    """Say whether one component of a dotted name is that of a test module or folder.

    :param component: such as ``test_api``, ``tests``, ``conftest``.
    """
    bare = component.lower().strip("_")
    return bare in _TEST_NAMES or bare.startswith(_TEST_PREFIXES) or bare.endswith(_TEST_SUFFIXES)


def _real(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


class Guard:
    """A finder that stands first on ``sys.meta_path`` and answers for the names of the wheel.

    Other names are none of its business. Below a name of the wheel, what the wheel lacks is looked for in the source
    tree only where the missing component names a test (so that tests inside a package run against the wheel).
    """

    def __init__(
        self, names: Iterable[str], sites: Iterable[str], roots: Iterable[str], dist: str, overlays: Iterable[str]
    ) -> None:
        self.names = frozenset(names)
        self.sites = list(sites)
        self.roots = list(roots)
        self.dist = dist
        self.overlays = list(overlays)
        self._real_sites = tuple(_real(site) + os.sep for site in self.sites)
        self._judged: dict[Any, Any] = {}
        self._bases: dict[str, str] = {}
        self._shares: dict[str, bool] = {}
        self._standard = os.path.dirname(os.__file__) + os.sep

    @classmethod
    def load(cls, path: str) -> Guard:
        """Read the file that ``WHEELCHECK_GUARD`` names."""
        with open(path, "rb") as file:
            entries = file.read().decode("utf-8", "surrogateescape").split("\0")
        found: dict[str, list[str]] = {"name": [], "site": [], "root": [], "dist": [], "overlay": []}
        for entry in entries:
            key, equals, value = entry.partition("=")
            if equals and key in found:
                found[key].append(value)
        # The standard library stands before site-packages; a wheel that has one of its names is not found there either.
        names = [name for name in found["name"] if not _is_standard(name)]
        return cls(names, found["site"], found["root"], "".join(found["dist"]), found["overlay"])

    def first(self) -> None:
        """Stand before every other finder, whatever has been put there since."""
        if not sys.meta_path or sys.meta_path[0] is not self:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            sys.meta_path.insert(0, self)

    def is_inside(self, path: str) -> bool:
        """Say whether a file lies in the environment's site-packages."""
        return _real(path).startswith(self._real_sites)

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        """Find a module as :class:`importlib.abc.MetaPathFinder` does."""
        top, dot, _ = fullname.partition(".")
        if top not in self.names:
            return None
        spec = self._search(fullname, self._own_path() if path is None else list(path))
        if spec is None and dot:
            spec = self._graft(fullname)
        elif spec is None:
            raise ModuleNotFoundError(
                "No module named %r in the environment of the wheel (the source tree is not searched)" % fullname,
                name=fullname,
            )
        if spec is not None and spec.origin is None and spec.submodule_search_locations is not None:
            # A namespace package. Its own path object would look at sys.path again and take in the source tree.
            spec.submodule_search_locations = list(spec.submodule_search_locations) + self._shared(fullname)
        return spec

    def _own_path(self) -> list[str]:
        """Return where top-level names are looked for: in the environment, in the order of ``sys.path``.

        A package may put a folder of its own there, to find a module in it that has the package's name (OpenCV's does).
        """
        own = [entry for entry in sys.path if isinstance(entry, str) and entry and self.is_inside(entry)]
        return [*own, *self.sites]

    def _shared(self, fullname: str) -> Any:
        """Return the parts of a namespace package that lie among the test tools, where others may share it."""
        folders = [os.path.join(folder, *fullname.split(".")) for folder in self.overlays]
        return [
            folder
            for folder in folders
            if os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "__init__.py"))
        ]

    def _search(self, fullname: str, folders: list[str] | None) -> Any:
        from importlib.machinery import PathFinder

        for finder in sys.meta_path:
            # pytest's own hook decides whether asserts are rewritten; it must decide on the wheel's file.
            if type(finder).__module__ == "_pytest.assertion.rewrite":
                spec = finder.find_spec(fullname, folders)
                if spec is not None:
                    return spec
        return PathFinder.find_spec(fullname, folders)

    def _graft(self, fullname: str) -> Any:
        parent, _, component = fullname.rpartition(".")
        # Below a grafted folder, its own ``__path__`` has been searched already.
        if not is_test_name(component):
            return None
        relative = parent.split(".")
        for root in self.roots:
            folder = os.path.join(root, *relative)
            if os.path.isdir(folder):
                spec = self._search(fullname, [folder])
                if spec is not None:
                    return spec
        return None

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """Offer the wheel's own metadata before any stale ``egg-info`` of the source tree."""
        from importlib.metadata import DistributionFinder, MetadataPathFinder

        name = getattr(context, "name", None)
        if name is None or _normalise(name) == self.dist:
            wanted = DistributionFinder.Context(name=self.dist, path=self.sites)
            yield from MetadataPathFinder.find_distributions(wanted)

    def foreign(self) -> list[tuple[str, str]]:
        """List the modules of the wheel that came from outside its environment.

        :returns: pairs of module name and file; grafted test modules are not among them.
        """
        found = []
        for name, module in list(sys.modules.items()):
            file = _file_of(module)
            if file is not None:
                key = (name, file)
                if key not in self._judged:
                    self._judged[key] = self.is_foreign(name, file)
                if self._judged[key]:
                    found.append(key)
        return found

    def is_foreign(self, name: str, file: str) -> bool:
        """Say whether a module is another copy of what belongs to the wheel: by its name, or by its place.

        :param name: the name that it was loaded under; ``src.pkg`` is no name of the wheel.
        """
        top, _, rest = name.partition(".")
        # Most modules are the interpreter's or the test tools'. To ask the system for the real place of each takes time.
        if file.startswith(self._standard) and top not in self.names and "-packages" not in file:
            return False
        for folder in self.overlays:
            if file.startswith(folder + os.sep):
                # A test tool may share a namespace package with the wheel.
                return self._has(file[len(folder) + 1 :])
        if self.is_inside(file):
            return False
        real = _real(file)
        for folder in self.overlays:
            base = self._base(folder)
            if real.startswith(base):
                return self._has(real[len(base) :])
        if top in self.names:
            return not any(is_test_name(component) for component in rest.split("."))
        for root in self.roots:
            base = self._base(root)
            if real.startswith(base):
                relative = real[len(base) :]
                parts = [part.partition(".")[0] for part in relative.split(os.sep)]
                if parts[0] in self.names and not any(is_test_name(part) for part in parts) and self._has(relative):
                    return True
        return False

    def _base(self, folder: str) -> str:
        """Give the real path of a folder, with a separator behind it."""
        if folder not in self._bases:
            self._bases[folder] = _real(folder) + os.sep
        return self._bases[folder]

    def _has(self, relative: str) -> bool:
        top = relative.partition(os.sep)[0]
        if top not in self._shares:
            self._shares[top] = any(os.path.exists(os.path.join(site, top)) for site in self.sites)
        return self._shares[top] and any(os.path.isfile(os.path.join(site, relative)) for site in self.sites)


def _is_standard(name: str) -> bool:
    known = getattr(sys, "stdlib_module_names", None)
    if known is not None:
        return name in known
    # Python 3.9
    place = os.path.join(os.path.dirname(os.__file__), name)
    return name in sys.builtin_module_names or os.path.isfile(place + ".py") or os.path.isdir(place)


def _file_of(module: object) -> str | None:
    # Not by getattr: a lazily loaded module would be loaded by it.
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return None
    return file if isinstance(file, str) else None


def _normalise(name: str) -> str:
    import re

    return re.sub(r"[-_.]+", "-", name).lower()


def install() -> Guard | None:
    """Install the guard that the environment asks for, once in a process.

    :returns: the guard, or ``None`` where there is none to install.
    """
    path = os.environ.get("WHEELCHECK_GUARD")
    if not path:
        return None
    for finder in sys.meta_path:
        if isinstance(finder, Guard):
            return finder
    try:
        guard = Guard.load(path)
    except OSError as error:
        # The target is gone while a process of its tests still starts others: say it, do not stop the interpreter.
        sys.stderr.write("wheelcheck: the guard of this environment cannot be read: %s\n" % error)
        return None
    guard.first()
    for folder in guard.overlays:
        if folder not in sys.path:
            sys.path.append(folder)
    return guard
