"""What pytest-run-parallel does with the tests: in how many threads each runs, and whether the GIL stays off meanwhile."""

from __future__ import annotations

import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The name under which pytest-run-parallel registers its hooks since 0.5.
_PLUGIN = "_run-parallel"

#: CPython's warning about an extension module that does not declare that it works without the GIL.
_ENABLED = re.compile(r"The global interpreter lock \(GIL\) has been enabled to load module '([^']*)'")


class ParallelThreads:
    """Observes pytest-run-parallel in the target's pytest.

    Attribute ``asked``: the value of ``--parallel-threads``; empty without the plugin.
    """

    def __init__(self) -> None:
        self.asked = ""
        self._watches_gil = False
        self._module = ""

    def configure(self, config: Any, free_threaded: bool) -> None:
        """Read the plugin's options, before the plugin does.

        The plugin would end pytest's session when a module enables the GIL, and with it those of the other targets. The
        controller makes it an error of this target instead, unless the user ignores it.
        """
        self.asked = str(getattr(config.option, "parallel_threads", ""))
        if free_threaded and asks_for_several(self.asked) and not getattr(config.option, "ignore_gil_enabled", False):
            self._watches_gil = True
            config.option.ignore_gil_enabled = True

    def notice_warning(self, text: str) -> None:
        """Find the module that enabled the GIL in a warning."""
        match = _ENABLED.match(text)
        if match is not None and not self._module:
            self._module = match.group(1)

    def gil_module(self) -> str | None:
        """Return the module that enabled the GIL, empty if it is not known; ``None`` if the GIL is off or does not matter."""
        if self._watches_gil and sys._is_gil_enabled():  # type: ignore[attr-defined,unused-ignore]
            return self._module
        return None

    def of_test(self, item: Any) -> tuple[int, str]:
        """Return in how many threads the plugin runs a test, 0 if that is not known, and why in one."""
        if not asks_for_several(self.asked):
            return 1, ""
        plugin = item.config.pluginmanager.getplugin(_PLUGIN)
        workers = getattr(plugin, "run_in_parallel", None)
        reasons = getattr(plugin, "thread_unsafe", None)
        if workers is None or reasons is None:
            return 0, ""
        return int(workers.get(item.nodeid, 1)), str(reasons.get(item.nodeid) or "")


def asks_for_several(value: str) -> bool:
    """Return whether a value of ``--parallel-threads`` asks for more than one thread."""
    return value == "auto" or (value.isdigit() and int(value) > 1)
