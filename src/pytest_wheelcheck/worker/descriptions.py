"""Describes the collected tests, so that the controller can make items that behave alike."""

from __future__ import annotations

from .rules import is_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import messages
    from .parallel_threads import ParallelThreads


class Descriptions:
    """Describes tests. What the tests of one parent have in common is determined once.

    :param pytest: the target's pytest.
    :param scale: factor for the tests' own timeouts.
    """

    def __init__(self, pytest: Any, threads: ParallelThreads, scale: float) -> None:
        self._pytest = pytest
        self._threads = threads
        self._scale = scale
        self._parent: Any = None
        self._parent_names: list[object] = []
        self._parent_chain: list[list[str]] = []
        self._parent_marks: list[messages.Mark] = []
        self._usual_timeout: tuple[float, bool] | None = None

    def describe(self, item: Any) -> messages.Item:
        """Describe a test."""
        if item.parent is not self._parent or self._parent is None:
            self._enter(item.parent)
        own: list[messages.Mark] = [_describe_mark(mark) for mark in item.own_markers]
        marks = [*own, *self._parent_marks]
        names: list[object] = [*self._parent_names, item.name, *item.extra_keyword_matches]
        names.extend(mark["name"] for mark in own)
        function = getattr(item, "function", None)
        if function is not None:
            names.extend(name for name in getattr(function, "__dict__", ()) if not name.startswith("__"))
        doc = getattr(getattr(item, "obj", None), "__doc__", None)
        timeout, func_only = self._timeout_of(item, marks)
        threads, single = self._threads.of_test(item)
        return {
            "id": item.nodeid,
            "location": list(item.location),
            "chain": [*self._parent_chain, [type(item).__name__, str(item.name)]],
            "names": sorted(set(map(str, names))),
            "marks": marks,
            "doc": doc if isinstance(doc, str) else "",
            "timeout": timeout,
            "func_only": func_only,
            "threads": threads,
            "single": single,
        }

    def _enter(self, parent: Any) -> None:
        self._parent = parent
        self._parent_marks = [_describe_mark(mark) for mark in parent.iter_markers()]
        chain = parent.listchain()
        names = list(parent.listextrakeywords())
        for index, node in enumerate(chain):
            if index > 0 and not (index == 1 and is_directory(self._pytest, node)):
                names.append(node.name)
        names.extend(mark["name"] for mark in self._parent_marks)
        self._parent_names = names
        self._parent_chain = [[type(node).__name__, str(node.name)] for node in chain[1:]]

    def _timeout_of(self, item: Any, marks: list[messages.Mark]) -> tuple[float, bool]:
        """Return the test's own timeout in seconds, scaled, or 0, and whether it counts the test function only."""
        has_own = any(mark["name"] == "timeout" for mark in marks)
        if has_own or self._usual_timeout is None:
            found = self._read_timeout(item)
            if has_own:
                return found
            self._usual_timeout = found
        return self._usual_timeout

    def _read_timeout(self, item: Any) -> tuple[float, bool]:
        plugin = item.config.pluginmanager.getplugin("timeout")
        find = getattr(plugin, "_get_item_settings", None)
        if find is None:
            return 0, False
        try:
            found = find(item)
        except Exception:
            return 0, False
        timeout = found.timeout or 0
        return timeout * self._scale, bool(timeout and found.func_only)


def _describe_mark(mark: Any) -> messages.Mark:
    # The values of a parametrized test may be many and large, and -m does not use them.
    args = () if mark.name == "parametrize" else mark.args
    kwargs = {key: _simple(value) for key, value in mark.kwargs.items()}
    return {"name": mark.name, "args": [_simple(arg) for arg in args], "kwargs": kwargs}


def _simple(value: object) -> object:
    """Return a value that ``-m "device(serial=1)"`` can compare with as it is, and the ``repr`` of another one."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        return repr(value)
    except BaseException:
        # It is the user's code, and may raise anything.
        return object.__repr__(value)
