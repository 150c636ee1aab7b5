"""Makes pytest import the wheel's modules through the guard, and reports modules that came from elsewhere."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .rules import TargetRules


class Provenance:
    """Tracks the origin of the modules that the tests import under the names of the wheel.

    :param pytest: the target's pytest.
    :param guard: the environment's :class:`~.guard.Guard`.

    Attribute ``skipped_import``: why the test module being collected is skipped; empty where it is not.
    """

    def __init__(self, pytest: Any, guard: Any, rules: TargetRules) -> None:
        self.pytest = pytest
        self.guard = guard
        self.rules = rules
        self.skipped_import = ""
        self._own: list[tuple[str, Any]] = []
        self._size: tuple[int, str] = (-1, "")
        self._foreign_loads: list[tuple[str, str]] = []
        self._reported: list[tuple[str, str]] = []

    def patch_import_path(self) -> None:
        """Make pytest import test files below a package of the wheel by their dotted name, in every import mode.

        Then the guard decides where each module comes from.
        """
        import importlib

        import _pytest.pathlib as pathlib

        original = pathlib.import_path
        provenance = self

        def import_path(path: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            provenance.guard.move_to_front()
            try:
                dotted = provenance._dotted_name(path, kwargs.get("mode"))
                if dotted is None:
                    return original(path, *args, **kwargs)
                module = importlib.import_module(dotted)
                file = getattr(module, "__file__", None)
                if file and not provenance.guard.is_inside(file) and not os.path.samefile(file, str(path)):
                    # Two test files with one dotted name: the module is that of the other file.
                    raise pathlib.ImportPathMismatchError(dotted, file, path)
                return module
            except ImportError as error:
                if os.path.basename(str(path)) == "conftest.py":
                    raise
                reason = provenance.rules.skips_import(error, provenance.guard.is_inside)
                if reason:
                    provenance.skipped_import = reason
                    raise provenance.pytest.skip.Exception(reason, allow_module_level=True) from error
                raise

        for name, module in list(sys.modules.items()):
            if name.startswith("_pytest.") and getattr(module, "import_path", None) is original:
                module.__dict__["import_path"] = import_path

    def patch_module_from_spec(self) -> None:
        """Notice modules of the wheel that are loaded by file name, including those that never reach ``sys.modules``."""
        import importlib.util

        original = importlib.util.module_from_spec
        provenance = self

        def module_from_spec(spec: Any) -> Any:
            module = original(spec)
            if isinstance(spec.origin, str) and provenance.guard.is_foreign(spec.name, spec.origin):
                provenance._foreign_loads.append((spec.name, spec.origin))
            return module

        importlib.util.module_from_spec = module_from_spec

    def _dotted_name(self, path: Any, mode: Any = None) -> str | None:
        """Return the dotted name of a file in a package of the wheel's name; ``None`` for any other file.

        :param mode: pytest's import mode.
        """
        current, name = os.path.split(os.path.abspath(str(path)))
        stem, extension = os.path.splitext(name)
        if extension != ".py":
            return None
        parts = [] if stem == "__init__" else [stem]
        while os.path.isfile(os.path.join(current, "__init__.py")):
            current, component = os.path.split(current)
            parts.insert(0, component)
        packaged = len(parts) > 1 or stem == "__init__"
        if packaged and parts[0] in self.guard.names:
            if current not in self.guard.roots:
                self.guard.roots.append(current)
            return ".".join(parts)
        # In two more cases pytest would create the package from the source tree: it gives a package in a namespace
        # package its last name only, and with importmode=importlib each directory up to the root is a parent package.
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
        """Return whether a package is a namespace package in the environment of the wheel."""
        paths = [os.path.join(site, *parts) for site in self.guard.sites]
        found = [path for path in paths if os.path.isdir(path)]
        return bool(found) and not any(os.path.isfile(os.path.join(path, "__init__.py")) for path in found)

    def _is_unchanged(self) -> bool:
        """Return whether the wheel's modules are those of the last call, at little cost: each test asks."""
        modules = sys.modules
        try:
            # A new module is the last one.
            if (len(modules), next(reversed(modules), "")) == self._size and all(
                modules.get(name) is module for name, module in self._own
            ):
                return True
        except RuntimeError:
            pass  # A thread imports.
        names = self.guard.names
        found = list(modules.items())
        self._own = [pair for pair in found if pair[0].partition(".")[0] in names]
        self._size = len(found), found[-1][0] if found else ""
        return False

    def report_foreign(self) -> str:
        """Return a message about modules of the wheel's names that came from elsewhere since the last call, or nothing."""
        if not self._foreign_loads and self._is_unchanged():
            return ""
        # Each module is reported once: later tests did not import it.
        found = [pair for pair in self.guard.foreign() if pair not in self._reported]
        self._reported.extend(found)
        found.extend(pair for pair in dict.fromkeys(self._foreign_loads) if pair not in found)
        self._foreign_loads = []
        if not found:
            return ""
        lines = ["%s was imported from %s" % pair for pair in found[:5]]
        if len(found) > 5:
            lines.append("and %d more" % (len(found) - 5))
        return "\n".join(
            [
                "not the wheel: " + lines[0],
                *lines[1:],
                "This module is part of the wheel, but another copy of it was imported: the test did not test the wheel.",
                "Cause: import mode importlib with tests inside the package, a modified __path__, or code that loads modules",
                "by file name",
            ]
        )
