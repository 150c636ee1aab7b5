"""Notices imports of modules that are loaded: the import system does not search these again, so no finder is asked.

It asks the spec of a loaded module whether the module is still being initialized, at each import. So the specs of the test
tools' modules get a class that notices the question. Nothing of Python is replaced, and other modules cost nothing.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

#: Their modules are not observed: every test has them.
_OF_EVERY_TEST = ("pytest", "_pytest", "py")


class ObservedSpecs:
    """Finds the modules of test tools, with specs that notice each import.

    :param guard: the environment's :class:`~.guard.Guard`.
    :param imported: is called with the name of a loaded module that is imported, and the frame of who asked.
    """

    def __init__(self, guard: Any, imported: Callable[[str, FrameType | None], None]) -> None:
        self._guard = guard
        self._class = _make_class(imported)
        self._tops: dict[str, bool] = dict.fromkeys(_OF_EVERY_TEST, False)
        for name, module in list(sys.modules.items()):
            if self._is_tool(name.partition(".")[0]):
                try:
                    # Not by getattr, which would load a lazy module.
                    self._observe(object.__getattribute__(module, "__dict__").get("__spec__"))
                except AttributeError:
                    pass

    def find_spec(self, name: str, path: Any, target: Any) -> Any:
        """Ask the finders behind the guard, as the import system would do next, if a test tool has the name."""
        if not self._is_tool(name.partition(".")[0]) or self._guard not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self._guard) + 1 :]:
            find_spec = getattr(finder, "find_spec", None)
            spec = find_spec(name, path, target) if find_spec is not None else None
            if spec is not None:
                self._observe(spec)
                return spec
        return None

    def _is_tool(self, top: str) -> bool:
        if top not in self._tops:
            self._tops[top] = PathFinder.find_spec(top, self._guard.overlays) is not None
        return self._tops[top]

    def _observe(self, spec: Any) -> None:
        # A class of another finder has reasons.
        if type(spec) is ModuleSpec and str(spec.origin).startswith(
            tuple(each + os.sep for each in self._guard.overlays)
        ):
            spec.__class__ = self._class


def _make_class(imported: Callable[[str, FrameType | None], None]) -> type[ModuleSpec]:
    class Observed(ModuleSpec):
        @property
        def _initializing(self) -> bool:
            if self.__dict__.get("_initializing", False):
                return True
            imported(self.name, sys._getframe(1))
            return False

        @_initializing.setter
        def _initializing(self, value: bool) -> None:
            self.__dict__["_initializing"] = value

    # It is in the representation of a spec.
    Observed.__name__ = Observed.__qualname__ = "ModuleSpec"
    return Observed
