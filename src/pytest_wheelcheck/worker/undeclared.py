"""Finds imports of test requirements by files of the wheel: a user who installs the wheel alone does not have them.

The import check imports modules before any test tool is importable. It does not call functions, and functions import, too.
If a test tool is not loaded, its import is noticed when it is searched for. If it is, see :mod:`.observed_specs`.
"""

from __future__ import annotations

import os
import sys

from .observed_specs import ObservedSpecs

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

#: How often a line that imports what is loaded is looked at. It may be in a loop.
_LOOKS = 20


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
        self._other_files: set[str] = set()
        self._looks: dict[tuple[str, int], int] = {}
        self._specs = ObservedSpecs(guard, self.observe_loaded)

    def find_spec(self, name: str, path: Any, target: Any) -> Any:
        """Find a module that is not the wheel's, as a finder does; check the import of a top-level one."""
        if "." not in name and self._is_of_interest(name):
            try:
                self._check(name)
            except Exception as error:
                self._log(name, error)
        return self._specs.find_spec(name, path, target)

    def observe_loaded(self, name: str, frame: FrameType | None) -> None:
        """Check the import of a test tool's module that is loaded. Never raises.

        :param frame: of the import system, or of the code that imports.
        """
        if frame is None or frame.f_code.co_filename in self._other_files:
            return
        top = name.partition(".")[0]
        try:
            if self._is_of_interest(top):
                self._check_loaded(top, frame)
        except Exception as error:
            self._log(name, error)

    def _is_of_interest(self, top: str) -> bool:
        return bool(top not in self._seen and top not in self._guard.missing and self._guard.overlays)

    def _log(self, name: str, error: Exception) -> None:
        # A bug here must not change what an import finds; the log is part of reports.
        sys.stderr.write("wheelcheck: the import of %s cannot be checked: %r\n" % (name, error))

    def take(self) -> str:
        """Return the findings since the last call, or nothing."""
        text = "\n".join(self._texts)
        self._texts = []
        return text

    def _check(self, name: str) -> None:
        # This function, find_spec() here and of the guard, and then the import system.
        frame: FrameType | None = sys._getframe(3)
        while frame is not None and _is_import_system(frame):
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
        if distribution and not self._is_allowed(frame):
            self._report(name, distribution, file, line)

    def _check_loaded(self, name: str, frame: FrameType | None) -> None:
        while frame is not None and _is_import_system(frame):
            frame = frame.f_back
        if frame is None:
            return
        file, line = frame.f_code.co_filename, frame.f_lineno
        looks = self._looks.get((file, line), 0)
        # All that follows is slow.
        if file in self._other_files or looks >= _LOOKS:
            return
        if not self._is_own(file) or self._is_of_tests(file) or self._is_of_plugin(file):
            self._other_files.add(file)
            return
        self._looks[file, line] = looks + 1
        if name in self._probed or not self._names_it(file, line, name):
            return
        if self._is_allowed(frame) or self._is_of_import_check(frame) or self._has_given(frame, name):
            return
        distribution = self._distribution(name)
        if distribution and not self._is_optional(name):
            self._report(name, distribution, file, line)

    def _report(self, name: str, distribution: str, file: str, line: int) -> None:
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
        return self._relative(file) in self._list_own_files()

    def _list_own_files(self) -> set[str]:
        if self._own_files is None:
            self._own_files = set()
            for distribution in self._guard.find_distributions():
                for path in distribution.files or ():
                    self._own_files.add(str(path).replace("\\", "/"))
        return self._own_files

    def _is_of_tests(self, file: str) -> bool:
        """Return whether a file is a test, or a conftest file, that the wheel carries: such files need what tests need."""
        return any(map(self._guard.is_test_name, self._relative(file).rpartition(".")[0].split("/")))

    def _is_of_plugin(self, file: str) -> bool:
        """Return whether a file has hooks or fixtures of pytest: other tools of the session are loaded for good reasons."""
        import ast

        return any(
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and (
                node.name.startswith("pytest_")
                or any(
                    ast.unparse(each).startswith(("pytest.fixture", "pytest.hookimpl")) for each in node.decorator_list
                )
            )
            for node in ast.walk(self._tree(file))
        )

    def _is_of_import_check(self, frame: FrameType | None) -> bool:
        """Return whether the importing code runs while a module of the wheel is imported, as it did in the import check."""
        while frame is not None:
            if frame.f_code.co_name == "<module>" and self._is_own(frame.f_code.co_filename):
                return True
            frame = frame.f_back
        return False

    def _has_given(self, frame: FrameType | None, name: str) -> bool:
        """Return whether code of the wheel has an object of a module at hand: who passed it has the module, too."""
        while frame is not None:
            if self._is_own(frame.f_code.co_filename):
                if any(_is_of(part, name) for value in list(frame.f_locals.values()) for part in _parts(value)):
                    return True
            frame = frame.f_back
        return False

    def _is_optional(self, name: str) -> bool:
        """Return whether code of the wheel, anywhere, asks for a module, or catches the error of its import."""
        import re

        quoted = re.compile((r"[\"']%s[\"'.]" % re.escape(name)).encode())
        asks, named = False, False
        for relative in self._list_own_files():
            if not relative.endswith(".py"):
                continue
            for site in self._guard.sites:
                file = os.path.join(site, *relative.split("/"))
                try:
                    with open(file, "rb") as stream:
                        source = stream.read()
                except OSError:
                    continue
                asks = asks or re.search(rb"\bfind_spec\b|\bfind_loader\b|\bsys\.modules\b", source) is not None
                named = named or quoted.search(source) is not None
                if name.encode() in source and self._catches_import(file, name):
                    return True
        return asks and named

    def _catches_import(self, file: str, name: str) -> bool:
        import ast

        return any(
            isinstance(node, (ast.Import, ast.ImportFrom))
            and self._names_it(file, node.lineno, name)
            and self._is_handled(file, node.lineno)
            for node in ast.walk(self._tree(file))
        )

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


def _is_import_system(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _IMPORT_SYSTEM


def _is_of(value: object, name: str) -> bool:
    """Return whether an object is of a top-level module: the module, a class or function of it, or an instance."""
    from types import FunctionType, ModuleType

    modules: list[Any]
    if isinstance(value, ModuleType):
        modules = [value.__name__]
    elif isinstance(value, FunctionType):
        modules = [value.__module__]
    else:
        # Also of a class that a test derives. Not by getattr, which may run code under test.
        modules = [vars(each).get("__module__") for each in type.mro(value if isinstance(value, type) else type(value))]
    return any(isinstance(module, str) and module.partition(".")[0] == name for module in modules)


def _parts(value: object) -> list[object]:
    """Return an object, and what it contains directly."""
    found = [value]
    if type(value) in (list, tuple, set, frozenset):
        found += list(value)[:100]  # type: ignore[call-overload]
    elif type(value) is dict:
        found += list(value.values())[:100]
    else:
        try:
            found += list(object.__getattribute__(value, "__dict__").values())[:100]
        except (AttributeError, TypeError):
            pass
    return found


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
