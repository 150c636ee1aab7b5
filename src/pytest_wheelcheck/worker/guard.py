"""Makes the names of the wheel resolve from its environment, not from the source tree.

Only test modules below these names may come from the source tree.

This file is copied into the environment of a target. A ``.pth`` file starts it in every process of the environment: in the
worker, and in what a test starts with ``subprocess`` or ``multiprocessing``. Each such start pays for its imports, so it
has almost none. Until Python 3.17, lines of ``.pth`` files run before the entry points of ``.start`` files (PEP 829), so it
is active before those of the wheel run.

The variable ``WHEELCHECK_GUARD`` names a file of NUL-separated entries ``KEY=VALUE``:

=============== ====================================================================
``name``        a top-level name of the wheel (repeated)
``site``        a site-packages directory of the environment (repeated)
``root``        a directory of the project that may contain tests of the wheel's packages (repeated)
``dist``        the normalized name of the wheel's distribution
``overlay``     a directory to append to ``sys.path`` (repeated)
``optional``    the normalized name of a distribution that an extra of the wheel installs (repeated)
``missing``     a module that the import check did not find (repeated)
``failed``      a module of the wheel whose import failed in the import check (repeated)
``ended``       the same, and the import ended its process (repeated)
=============== ====================================================================
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    # The module typing is not loaded in targets: every start would pay for it.
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

#: Parts of a dotted name that mean a test module or directory. Only these may come from the source tree below a name of
#: the wheel.
_TEST_PREFIXES = ("test_", "tests_")
_TEST_SUFFIXES = ("_test", "_tests")
_TEST_NAMES = ("test", "tests", "conftest")


def is_test_name(component: str) -> bool:
    """Return whether one part of a dotted name is that of a test module or directory.

    :param component: such as ``test_api``, ``tests``, ``conftest``.
    """
    bare = component.lower().strip("_")
    return bare in _TEST_NAMES or bare.startswith(_TEST_PREFIXES) or bare.endswith(_TEST_SUFFIXES)


def _real(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


class NotReachedError(ImportError):
    """A module that ended the process of its import check is not imported again.

    :param module: its dotted name.
    """

    def __init__(self, module: str) -> None:
        super().__init__("not imported, because import[%s] did not pass" % module, name=module)


class Guard:
    """A finder at the front of ``sys.meta_path`` for the names of the wheel. It ignores all other names.

    Attributes that only the worker uses: ``optional``, ``missing``, ``failed``, ``ended`` are the entries above. ``observer``
    is called as a finder for each name that is not the wheel's, before other finders search it.

    If the wheel lacks a submodule, the source tree is searched for it only if the last part of its name is that of a test
    module. So tests inside a package run against the wheel.
    """

    # For the worker, which gets this object and cannot import this module by its name here.
    is_test_name = staticmethod(is_test_name)

    def __init__(
        self, names: Iterable[str], sites: Iterable[str], roots: Iterable[str], dist: str, overlays: Iterable[str]
    ) -> None:
        self.names = frozenset(names)
        self.sites = list(sites)
        self.roots = list(roots)
        self.dist = dist
        self.overlays = list(overlays)
        self.optional: frozenset[str] = frozenset()
        self.missing: frozenset[str] = frozenset()
        self.failed: frozenset[str] = frozenset()
        self.ended: frozenset[str] = frozenset()
        self.observer: Callable[[str, Any, Any], Any] | None = None
        self._site_prefixes = tuple(_real(site) + os.sep for site in self.sites)
        self._stdlib_prefix = os.path.dirname(os.__file__) + os.sep
        self._verdicts: dict[tuple[str, str], bool] = {}
        self._real_prefixes: dict[str, str] = {}
        self._has_top: dict[str, bool] = {}

    @classmethod
    def load(cls, path: str) -> Guard:
        """Read the file that ``WHEELCHECK_GUARD`` names."""
        with open(path, "rb") as file:
            entries = file.read().decode("utf-8", "surrogateescape").split("\0")
        keys = ("name", "site", "root", "dist", "overlay", "optional", "missing", "failed", "ended")
        values: dict[str, list[str]] = {key: [] for key in keys}
        for entry in entries:
            key, equals, value = entry.partition("=")
            if equals and key in values:
                values[key].append(value)
        # The standard library comes before site-packages, so a wheel's module of the same name is never found.
        names = [name for name in values["name"] if not _is_stdlib(name)]
        guard = cls(names, values["site"], values["root"], "".join(values["dist"]), values["overlay"])
        guard.optional = frozenset(values["optional"])
        guard.missing = frozenset(name.partition(".")[0] for name in values["missing"])
        guard.ended = frozenset(values["ended"])
        guard.failed = frozenset(values["failed"]) | guard.ended
        return guard

    def move_to_front(self) -> None:
        """Move before all other finders: code under test may have inserted some."""
        if not sys.meta_path or sys.meta_path[0] is not self:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            sys.meta_path.insert(0, self)

    def is_inside(self, path: str) -> bool:
        """Return whether a file is in the environment's site-packages."""
        return _real(path).startswith(self._site_prefixes)

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        """Find a module as :class:`importlib.abc.MetaPathFinder` does."""
        top, dot, _ = fullname.partition(".")
        if top not in self.names:
            return None if self.observer is None else self.observer(fullname, path, target)
        if self.observer is not None and fullname in self.ended:
            raise NotReachedError(fullname)
        spec = self._search(fullname, self._site_path() if path is None else list(path))
        if spec is None and dot:
            spec = self._find_test(fullname)
        elif spec is None:
            raise ModuleNotFoundError(
                "No module named %r in the environment of the wheel (the source tree is not searched)" % fullname,
                name=fullname,
            )
        if spec is not None and spec.origin is None and spec.submodule_search_locations is not None:
            # A namespace package. The path object of the standard finder would search sys.path again and add the source
            # tree.
            spec.submodule_search_locations = list(spec.submodule_search_locations) + self._overlay_parts(fullname)
        return spec

    def _site_path(self) -> list[str]:
        """Return where top-level names are searched: in the environment, in the order of ``sys.path``.

        A package may put one of its directories on ``sys.path``, to find a module of the same name there (OpenCV does).
        """
        own = [entry for entry in sys.path if isinstance(entry, str) and entry and self.is_inside(entry)]
        return [*own, *self.sites]

    def _overlay_parts(self, fullname: str) -> list[str]:
        """Return the parts of a namespace package among the test tools, which may share it with the wheel."""
        paths = [os.path.join(overlay, *fullname.split(".")) for overlay in self.overlays]
        return [path for path in paths if os.path.isdir(path) and not os.path.exists(os.path.join(path, "__init__.py"))]

    def _search(self, fullname: str, path: list[str]) -> Any:
        from importlib.machinery import PathFinder

        for finder in sys.meta_path:
            # pytest's hook decides whether to rewrite assertions; it has to see the wheel's file.
            if type(finder).__module__ == "_pytest.assertion.rewrite":
                spec = finder.find_spec(fullname, path)
                if spec is not None:
                    return spec
        return PathFinder.find_spec(fullname, path)

    def _find_test(self, fullname: str) -> Any:
        """Find a test module of a package of the wheel in the source tree."""
        parent, _, component = fullname.rpartition(".")
        # Modules below a test directory of the source tree are found by its ``__path__``.
        if not is_test_name(component):
            return None
        for root in self.roots:
            directory = os.path.join(root, *parent.split("."))
            if os.path.isdir(directory):
                spec = self._search(fullname, [directory])
                if spec is not None:
                    return spec
        return None

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """Return the wheel's own metadata before a stale ``egg-info`` of the source tree."""
        from importlib.metadata import DistributionFinder, MetadataPathFinder

        name = getattr(context, "name", None)
        if name is None or _normalize(name) == self.dist:
            yield from MetadataPathFinder.find_distributions(
                DistributionFinder.Context(name=self.dist, path=self.sites)
            )

    def foreign(self) -> list[tuple[str, str]]:
        """List the loaded modules of the wheel that are not from its environment, except test modules.

        :returns: pairs of module name and file.
        """
        found = []
        for name, module in list(sys.modules.items()):
            file = _attribute(module, "__file__")
            if isinstance(file, str) and not is_alias(name, module):
                key = (name, file)
                if key not in self._verdicts:
                    self._verdicts[key] = self.is_foreign(name, file)
                if self._verdicts[key]:
                    found.append(key)
        return found

    def is_foreign(self, name: str, file: str) -> bool:
        """Return whether a module is another copy of a module of the wheel, by its name or by its file.

        :param name: the name under which it was loaded; a file of the wheel may be loaded as ``src.pkg``.
        """
        top, _, rest = name.partition(".")
        # Most modules are the interpreter's or the test tools'. They are skipped before realpath, which is slow.
        if file.startswith(self._stdlib_prefix) and top not in self.names and "-packages" not in file:
            return False
        for overlay in self.overlays:
            if file.startswith(overlay + os.sep):
                # A test tool may share a namespace package with the wheel.
                return self._is_in_wheel(file[len(overlay) + 1 :])
        if self.is_inside(file):
            return False
        real = _real(file)
        for overlay in self.overlays:
            prefix = self._real_prefix(overlay)
            if real.startswith(prefix):
                return self._is_in_wheel(real[len(prefix) :])
        if top in self.names:
            return not any(is_test_name(component) for component in rest.split("."))
        for root in self.roots:
            prefix = self._real_prefix(root)
            if real.startswith(prefix):
                relative = real[len(prefix) :]
                parts = [part.partition(".")[0] for part in relative.split(os.sep)]
                if parts[0] in self.names and not any(is_test_name(part) for part in parts):
                    if self._is_in_wheel(relative):
                        return True
        return False

    def _real_prefix(self, directory: str) -> str:
        """Return the real path of a directory, with a separator at its end."""
        if directory not in self._real_prefixes:
            self._real_prefixes[directory] = _real(directory) + os.sep
        return self._real_prefixes[directory]

    def _is_in_wheel(self, relative: str) -> bool:
        """Return whether a path below site-packages exists in the environment."""
        top = relative.partition(os.sep)[0]
        if top not in self._has_top:
            self._has_top[top] = any(os.path.exists(os.path.join(site, top)) for site in self.sites)
        return self._has_top[top] and any(os.path.isfile(os.path.join(site, relative)) for site in self.sites)


def _is_stdlib(name: str) -> bool:
    known = getattr(sys, "stdlib_module_names", None)
    if known is not None:
        return name in known
    # Python 3.9
    path = os.path.join(os.path.dirname(os.__file__), name)
    return name in sys.builtin_module_names or os.path.isfile(path + ".py") or os.path.isdir(path)


def is_alias(name: str, module: object) -> bool:
    """See :func:`pytest_wheelcheck.worker.observer.is_alias`: the guard is one file, without the worker."""
    own = _attribute(module, "__name__")
    if not isinstance(own, str) or own.partition(".")[0] == name.partition(".")[0]:
        return False
    return sys.modules.get(own) is module


def _attribute(module: object, name: str) -> object:
    # Not by getattr, which would load a lazy module.
    try:
        return object.__getattribute__(module, "__dict__").get(name)
    except AttributeError:
        return None


def _normalize(name: str) -> str:
    import re

    return re.sub(r"[-_.]+", "-", name).lower()


def install() -> Guard | None:
    """Install the guard of the environment, once per process.

    :returns: the guard; ``None`` where the environment has none.
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
        # The target was already removed, but a process that a test left running starts another. It must start unguarded.
        sys.stderr.write("wheelcheck: cannot read the settings of the import guard: %s\n" % error)
        return None
    guard.move_to_front()
    for overlay in guard.overlays:
        if overlay not in sys.path:
            sys.path.append(overlay)
    return guard
