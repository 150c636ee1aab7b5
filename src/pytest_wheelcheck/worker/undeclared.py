"""Finds imports of test requirements by files of the wheel: a user who installs the wheel alone does not have them.

The import check imports modules before any test tool is importable. It does not call functions, and functions import, too.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

#: Modules whose frames are between an import and the finder.
_IMPORT_SYSTEM = ("importlib", "_frozen_importlib", "_frozen_importlib_external", "pkgutil")

#: Functions that ask whether a module exists, without importing it.
_PROBES = ("find_spec", "find_loader")

#: Exceptions whose handler allows for a missing module; a bare ``except`` does so as well.
_HANDLED = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


class UndeclaredImports:
    """Observes the imports of a worker.

    :param guard: the environment's :class:`~.guard.Guard`.
    """

    def __init__(self, guard: Any) -> None:
        self._guard = guard
        self._probed: set[str] = set()
        self._seen: set[str] = set()
        self._texts: list[str] = []
        self._own_files: set[str] | None = None
        self._trees: dict[str, Any] = {}

    def observe(self, name: str) -> None:
        """Check the import of a top-level module that is searched for. Never raises."""
        if name in self._seen or name in self._guard.missing or not self._guard.overlays:
            return
        try:
            self._check(name)
        except Exception as error:
            # A bug here must not change what an import finds; the log is part of reports.
            sys.stderr.write("wheelcheck: the import of %s cannot be checked: %r\n" % (name, error))

    def take(self) -> str:
        """Return the findings since the last call, or nothing."""
        text = "\n".join(self._texts)
        self._texts = []
        return text

    def _check(self, name: str) -> None:
        # This function, observe(), find_spec() of the guard, and then the import system.
        frame: FrameType | None = sys._getframe(3)
        while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _IMPORT_SYSTEM:
            if frame.f_code.co_name in _PROBES and not frame.f_code.co_filename.startswith(
                "<frozen importlib._bootstrap"
            ):
                self._probed.add(name)
                return
            frame = frame.f_back
        if frame is None or name in self._probed:
            return
        file, line = frame.f_code.co_filename, frame.f_lineno
        if not self._is_own(file) or self._is_of_tests(file) or not self._names_it(file, line, name):
            return
        distribution = self._distribution(name)
        if not distribution or self._is_allowed(frame):
            return
        self._seen.add(name)
        if _normalize(distribution) in self._guard.optional:
            return
        self._texts.append(
            "the wheel imports %s in %s, line %d, but does not declare it\n"
            "Cause: only the test requirements install %s, so a user of the wheel does not have it\n"
            'Fix: add "%s" to [project] dependencies in pyproject.toml, or to an extra, or catch ImportError'
            % (name, self._relative(file), line, distribution, distribution)
        )

    def _is_own(self, file: str) -> bool:
        """Return whether a file is one of the wheel, not of its dependencies."""
        if not self._guard.is_inside(file):
            return False
        if self._own_files is None:
            self._own_files = set()
            for distribution in self._guard.find_distributions():
                for path in distribution.files or ():
                    self._own_files.add(str(path).replace("\\", "/"))
        return self._relative(file) in self._own_files

    def _is_of_tests(self, file: str) -> bool:
        """Return whether a file is a test, or a conftest file, that the wheel carries: such files need what tests need."""
        return any(map(self._guard.is_test_name, self._relative(file).rpartition(".")[0].split("/")))

    def _relative(self, file: str) -> str:
        real = os.path.realpath(file)
        for site in self._guard.sites:
            prefix = os.path.realpath(site) + os.sep
            if os.path.normcase(real).startswith(os.path.normcase(prefix)):
                return real[len(prefix) :].replace("\\", "/")
        return real

    def _distribution(self, name: str) -> str:
        """Return the distribution of the test tools that brings a module; empty if the module is also elsewhere."""
        from importlib.machinery import PathFinder
        from importlib.metadata import distributions

        overlays = self._guard.overlays
        if name in sys.builtin_module_names or PathFinder.find_spec(name, overlays) is None:
            return ""
        others = [entry for entry in sys.path if entry not in overlays]
        if PathFinder.find_spec(name, others) is not None:
            return ""
        for distribution in distributions(path=list(overlays)):
            for path in distribution.files or ():
                if path.parts and path.parts[0].partition(".")[0] == name:
                    return str(distribution.metadata["Name"])
        return name

    def _names_it(self, file: str, line: int, name: str) -> bool:
        """Return whether a line names a module. Otherwise the name is data: that of a plugin, or of a user's choice."""
        import ast

        for node in ast.walk(self._tree(file)):
            if getattr(node, "lineno", 0) <= line <= (getattr(node, "end_lineno", 0) or 0):
                if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == name for alias in node.names):
                    return True
                if (
                    isinstance(node, ast.ImportFrom)
                    and not node.level
                    and (node.module or "").partition(".")[0] == name
                ):
                    return True
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    if node.value.partition(".")[0] == name:
                        return True
        return False

    def _is_allowed(self, frame: FrameType | None) -> bool:
        """Return whether the importing code, or code that called it, allows for a missing module."""
        while frame is not None:
            file = frame.f_code.co_filename
            if frame.f_code.co_name == "importorskip":
                return True
            if self._is_own(file) and self._is_handled(file, frame.f_lineno):
                return True
            frame = frame.f_back
        return False

    def _is_handled(self, file: str, line: int) -> bool:
        """Return whether a line is in the body of a ``try`` or ``with`` that catches an :class:`ImportError`."""
        import ast

        for node in ast.walk(self._tree(file)):
            if isinstance(node, ast.Try) and _contains(node.body, line):
                if any(_catches(handler.type) for handler in node.handlers):
                    return True
            elif isinstance(node, (ast.With, ast.AsyncWith)) and _contains(node.body, line):
                for item in node.items:
                    call = item.context_expr
                    if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "suppress":
                        if any(_catches(argument) for argument in call.args):
                            return True
        return False

    def _tree(self, file: str) -> Any:
        import ast

        if file not in self._trees:
            try:
                with open(file, "rb") as stream:
                    self._trees[file] = ast.parse(stream.read())
            except (OSError, SyntaxError, ValueError):
                self._trees[file] = ast.Module([], [])
        return self._trees[file]


def _contains(body: list[Any], line: int) -> bool:
    return bool(body[0].lineno <= line <= body[-1].end_lineno)


def _catches(handled: Any) -> bool:
    """Return whether an ``except`` clause with this expression catches an :class:`ImportError`."""
    import ast

    if handled is None:
        return True
    names = handled.elts if isinstance(handled, ast.Tuple) else [handled]
    return any(ast.unparse(name).rpartition(".")[2] in _HANDLED for name in names)


def _normalize(name: str) -> str:
    import re

    return re.sub(r"[-_.]+", "-", name).lower()


def find_failed_package(error: BaseException, guard: Any) -> str:
    """Return the module of the wheel whose import failed in the import check and is the cause of an error; or nothing.

    :param guard: the environment's :class:`~.guard.Guard`.
    """
    # Test tools may have brought what was missing there.
    lost = [name for name in guard.failed if name not in sys.modules]
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, ImportError) and current.name in lost:
            return str(current.name)
        if isinstance(current, SyntaxError) and current.filename and guard.is_inside(current.filename):
            for name in lost:
                if os.path.join("", *name.split(".")) in current.filename:
                    return name
        entry = current.__traceback__
        while entry is not None:
            name = entry.tb_frame.f_globals.get("__name__", "")
            if name in lost and entry.tb_frame.f_code.co_name == "<module>":
                return str(name)
            entry = entry.tb_next
        current = current.__cause__ or current.__context__
    return ""
