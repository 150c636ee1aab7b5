"""Where the modules come from that the tests meet under the names of the wheel."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .rules import TargetRules


class Provenance:
    """Has pytest import through the guard, and notices what came from elsewhere all the same.

    :param pytest: the target's pytest.
    :param guard: the environment's :class:`~pytest_wheelcheck.worker.guard.Guard`.
    """

    def __init__(self, pytest: Any, guard: Any, rules: TargetRules) -> None:
        self.pytest = pytest
        self.guard = guard
        self.rules = rules
        self.skipped_import = ""
        self._known: list[tuple[str, int]] | None = None
        self._loads: list[tuple[str, str]] = []
        self._told: list[tuple[str, str]] = []

    def patch_import_path(self) -> None:
        """Make pytest import test files below a package of the wheel through the import system, in every import mode.

        So the guard decides where each part comes from.
        """
        import importlib

        import _pytest.pathlib as pathlib

        original = pathlib.import_path
        watch = self

        def import_path(path: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            watch.guard.first()
            try:
                dotted = watch._dotted_below_wheel(path, kwargs.get("mode"))
                if dotted is None:
                    return original(path, *args, **kwargs)
                module = importlib.import_module(dotted)
                file = getattr(module, "__file__", None)
                if file and not watch.guard.is_inside(file) and not os.path.samefile(file, str(path)):
                    # Two test files that have one dotted name: the second must not be taken for the first.
                    raise pathlib.ImportPathMismatchError(dotted, file, path)
                return module
            except ImportError as error:
                if os.path.basename(str(path)) == "conftest.py":
                    raise
                reason = watch.rules.skips_import(error, watch.guard.is_inside)
                if reason:
                    watch.skipped_import = reason
                    raise watch.pytest.skip.Exception(reason, allow_module_level=True) from error
                raise

        for name, module in list(sys.modules.items()):
            if name.startswith("_pytest.") and getattr(module, "import_path", None) is original:
                module.__dict__["import_path"] = import_path

    def watch_loaders(self) -> None:
        """Notice modules of the wheel that are loaded by file name, also those that never reach ``sys.modules``."""
        import importlib.util

        original = importlib.util.module_from_spec
        watch = self

        def module_from_spec(spec: Any) -> Any:
            module = original(spec)
            if isinstance(spec.origin, str) and watch.guard.is_foreign(spec.name, spec.origin):
                watch._loads.append((spec.name, spec.origin))
            return module

        importlib.util.module_from_spec = module_from_spec

    def _dotted_below_wheel(self, path: Any, mode: Any = None) -> str | None:
        """Return the dotted name of a file that lies in a package of the wheel's name, else ``None``.

        :param mode: pytest's import mode.
        """
        folder, name = os.path.split(os.path.abspath(str(path)))
        stem, ending = os.path.splitext(name)
        if ending != ".py":
            return None
        parts = [] if stem == "__init__" else [stem]
        current = folder
        while os.path.isfile(os.path.join(current, "__init__.py")):
            current, component = os.path.split(current)
            parts.insert(0, component)
        packaged = len(parts) > 1 or stem == "__init__"
        if packaged and parts[0] in self.guard.names:
            if current not in self.guard.roots:
                self.guard.roots.append(current)
            return ".".join(parts)
        # Two more ways in which pytest would make the package from the source tree: a package in a namespace package
        # would get its last name only, and importmode=importlib makes parents of every folder up to the root.
        importlib_mode = getattr(mode, "value", mode) == "importlib"
        for root in self.guard.roots:
            try:
                relative = os.path.relpath(current, root)
            except ValueError:  # on another drive
                continue
            above = [] if relative == os.curdir else relative.split(os.sep)
            dotted = [*above, *parts]
            if len(dotted) > 1 and dotted[0] in self.guard.names and all(part.isidentifier() for part in dotted):
                if importlib_mode or (packaged and self._is_namespace(above)):
                    return ".".join(dotted)
        return None

    def _is_namespace(self, parts: list[str]) -> bool:
        """Say whether a folder is a namespace package in the environment of the wheel."""
        folders = [os.path.join(site, *parts) for site in self.guard.sites]
        found = [folder for folder in folders if os.path.isdir(folder)]
        return bool(found) and not any(os.path.isfile(os.path.join(folder, "__init__.py")) for folder in found)

    def foreign(self) -> str:
        """Tell which modules of the wheel's names came from elsewhere since it was last asked."""
        names = self.guard.names
        modules = [(name, id(module)) for name, module in list(sys.modules.items()) if name.partition(".")[0] in names]
        modules.append(("", len(sys.modules)))
        if modules == self._known and not self._loads:
            return ""
        self._known = modules
        # Told once: later tests are not to blame.
        found = [pair for pair in self.guard.foreign() if pair not in self._told]
        self._told.extend(found)
        found.extend(pair for pair in dict.fromkeys(self._loads) if pair not in found)
        self._loads = []
        if not found:
            return ""
        lines = ["%s was imported from %s" % pair for pair in found[:5]]
        if len(found) > 5:
            lines.append("and %d more" % (len(found) - 5))
        return "\n".join(
            [
                "not the wheel: " + lines[0],
                *lines[1:],
                "This module belongs to the wheel, but another copy was loaded, so what was tested is not what will be",
                "installed. Likely causes: importmode=importlib with tests inside the package, a changed __path__, or",
                "code that loads modules by file name.",
            ]
        )
