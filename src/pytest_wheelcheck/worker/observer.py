"""What an import does to its process."""

from __future__ import annotations

import os
import sys
import time

from .errors import describe_exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import messages


class Observer:
    """Observes the imports of this process, and of the processes that are forked from it, from now on.

    What it finds is what all of them did. So a module that is imported after its package has the same facts as in an
    interpreter that is started for it, where it imports its package, too.
    """

    def __init__(self, task: messages.Imports) -> None:
        self._task = task
        self._before = mapped_files()
        self._loaded = set(sys.modules)
        self._extensions: list[list[str]] = []
        self._seconds: dict[str, float] = {}
        self._record_extensions()

    def import_one(self, job: messages.ImportJob) -> messages.ImportResult:
        """Import one module, or load one entry point, in this process."""
        error = None
        file = ""
        start = time.perf_counter()
        try:
            import importlib

            if job["after"]:
                importlib.import_module(job["after"])
                start = time.perf_counter()
            module = importlib.import_module(job["module"])
            origin = getattr(getattr(module, "__spec__", None), "origin", None)
            file = getattr(module, "__file__", None) or (origin if origin in ("built-in", "frozen") else "")
            target: Any = module
            for attribute in [part for part in job["attribute"].split(".") if part]:
                target = getattr(target, attribute)
            if job["kind"] == "entry" and not callable(target):
                raise TypeError("the entry point %s refers to %r, which is not callable" % (job["name"], target))
        except BaseException as raised:
            error = describe_exception(raised)
        # A module that its package has loaded took its time there.
        seconds = max(time.perf_counter() - start, self._seconds.get(job["module"], 0.0) if job["after"] else 0.0)
        gil_enabled = getattr(sys, "_is_gil_enabled", None)
        return {
            "seconds": seconds,
            # A module may set it to anything.
            "file": str(file),
            "error": error,
            "gil": bool(gil_enabled()) if gil_enabled is not None and self._task["free_threaded"] else False,
            "before": sorted(self._before),
            "mapped": sorted(mapped_files() - self._before),
            "foreign": self._foreign_modules(),
            "extensions": list(self._extensions),
        }

    def _record_extensions(self) -> None:
        """Record name and file of each extension module, and how long it takes.

        A package may load its file under another name, and need not keep the module.
        """
        import _imp

        create, execute = _imp.create_dynamic, _imp.exec_dynamic

        def create_dynamic(spec: Any, *args: Any) -> Any:
            start = time.perf_counter()
            module = create(spec, *args)
            self._seconds[str(spec.name)] = time.perf_counter() - start
            self._extensions.append([str(spec.name), str(spec.origin)])
            return module

        def exec_dynamic(module: Any) -> Any:
            start = time.perf_counter()
            try:
                return execute(module)
            finally:
                name = str(getattr(module, "__name__", ""))
                self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

        _imp.create_dynamic, _imp.exec_dynamic = create_dynamic, exec_dynamic

    def _foreign_modules(self) -> list[list[str]]:
        """Return name and file of the modules under the wheel's names that were loaded from elsewhere."""
        names = set(self._task["names"])
        sites = tuple(os.path.realpath(site) + os.sep for site in self._task["sites"])
        found = []
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] not in names or name in self._loaded or is_alias(name, module):
                continue
            file = _attribute(module, "__file__")
            if isinstance(file, str) and not os.path.realpath(file).startswith(sites):
                found.append([name, file])
        return found


def is_alias(name: str, module: object) -> bool:
    """Return whether an entry of ``sys.modules`` is a module of another package, which is also there under its own name.

    A package may offer such names through an import hook (``cython.cimports.libc.math`` is ``math``).
    """
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


def imported(
    job: messages.ImportJob, result: messages.ImportResult | None, *, status: int, timed_out: bool, output: str
) -> messages.Imported:
    """Make the message about one import.

    :param result: what its process sent; ``None`` if that was not complete.
    """
    empty: messages.ImportResult = {
        "seconds": 0.0,
        "file": "",
        "error": None,
        "gil": False,
        "mapped": [],
        "before": [],
        "foreign": [],
        "extensions": [],
    }
    return {
        "type": "imported",
        "name": job["name"],
        "kind": job["kind"],
        "after": job["after"],
        "complete": result is not None,
        "status": status,
        "timed_out": timed_out,
        "output": output,
        **(result or empty),
    }


def mapped_files() -> set[str]:
    """Return the files mapped into this process (Linux); elsewhere an empty set."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            lines = maps.readlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        path = line.rstrip("\n").split(None, 5)[5:]
        if path and path[0].startswith("/"):
            found.add(path[0])
    return found
