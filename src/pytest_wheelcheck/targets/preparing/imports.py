"""What to import on a target, and the result of each import."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.results import RemoteError, StepResult
from pytest_wheelcheck.system.process import describe_status
from pytest_wheelcheck.targets.preparing.mapped_libraries import ImportContext, disallowed_libraries, is_inside
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.modules import pyo3_version
from pytest_wheelcheck.worker.messages import ImportJob

#: Bytes of an extension module that are searched for the version of PyO3.
_PYO3_LIMIT = 256 << 20

#: Parts of the standard library that a build, or a distribution's package, may lack: they need a library of their own
#: (CPython's ``configure``), or come in another package (Debian's). The second ones are not there on Windows at all.
_OPTIONAL = frozenset(
    {"tkinter", "_tkinter", "turtle", "idlelib", "_ctypes", "_sqlite3", "_ssl", "_hashlib", "_lzma", "_bz2", "_zstd"}
)
_OPTIONAL_ON_UNIX = frozenset({"readline", "_curses", "_curses_panel", "_gdbm", "_dbm", "_crypt", "_uuid", "nis"})


def jobs(wheel: Wheel, ignore: Sequence[str]) -> list[ImportJob]:
    """Say what the worker is to import: every importable top-level, every extension module, every entry point.

    :param ignore: :mod:`fnmatch` patterns of dotted names that are not meant to be imported.
    """
    modules = dict.fromkeys((*wheel.import_names, *wheel.extension_modules))
    wanted = [name for name in modules if not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignore)]
    found: list[ImportJob] = [{"name": name, "kind": "import", "module": name, "attribute": ""} for name in wanted]
    for name, reference in wheel.console_scripts:
        module, _, attribute = reference.partition("[")[0].strip().partition(":")
        found.append({"name": name, "kind": "entry", "module": module.strip(), "attribute": attribute.strip()})
    return found


def evaluate_import(result: Mapping[str, Any], target: Target, context: ImportContext, session: Session) -> StepResult:
    """Turn the worker's message about one import into the step of its node.

    :param session: explains how the interpreter ended.
    :param result: an ``imported`` message, see :class:`pytest_wheelcheck.worker.importer.Importer`.
    """
    problems: list[str] = []
    trace: tuple[RemoteError, ...] = ()
    kind = "entry" if result["kind"] == "entry" else "import"
    if result["timed_out"]:
        problems.append("it did not end in time and was killed; the stacks of its threads are below")
    elif not result["complete"]:
        problems.append(result.get("ending") or _describe_death(result, session))
    elif result["error"]:
        trace = RemoteError.chain(result["error"])
        problems.extend(_explain(trace, target))
    elif ending := result.get("ending") or (describe_status(result["status"]) if result.get("status") else ""):
        problems.append(f"the {kind} itself went well, but the interpreter did not end well afterwards: {ending}")
    if result["complete"]:
        problems.extend(_origin(result, context))
        if result["gil"]:
            problems.append(
                f"importing {result['name']} switched the GIL on in a free-threaded interpreter\n"
                "Cause: an extension module does not declare that it works without the GIL "
                "(Py_mod_gil; in PyO3: #[pymodule(gil_used = false)])"
            )
        problems.extend(disallowed_libraries(result, target, context))
    output = session.program_output(str(result["output"])).strip()
    properties = tuple(_properties(result, context))
    return StepResult(
        name=f"{kind}[{result['name']}]",
        outcome=Outcome.PASSED if not problems else Outcome.ERROR if _lacks(trace, target) else Outcome.FAILED,
        seconds=float(result.get("seconds", 0.0)),
        text="\n".join(problems) or _summary(properties),
        trace=trace,
        sections=(("Captured output of the import", output),) if output else (),
        properties=properties,
    )


def _summary(properties: Sequence[tuple[str, str]]) -> str:
    """Summarize a successful import."""
    known = dict(properties)
    built = f", built with PyO3 {known['pyo3']}" if "pyo3" in known else ""
    return f"imported in {float(known['import_seconds']):.3f} s{built}"


def _properties(result: Mapping[str, Any], context: ImportContext) -> Iterable[tuple[str, str]]:
    if result["complete"]:
        yield "import_seconds", f"{result['seconds']:.4f}"
        version = built_with_pyo3(result.get("file") or "", context)
        if version:
            yield "pyo3", version


@lru_cache(maxsize=256)
def _pyo3_of(path: str) -> str | None:
    try:
        with Path(path).open("rb") as file:
            return pyo3_version(file.read(_PYO3_LIMIT))
    except OSError:
        return None


def built_with_pyo3(file: str, context: ImportContext) -> str | None:
    """Return the version of PyO3 that built an extension module, if the binary shows it."""
    if file.endswith((".so", ".pyd")) and is_inside(file, context.sites):
        return _pyo3_of(file)
    return None


def _describe_death(result: Mapping[str, Any], session: Session) -> str:
    status = result["status"]
    if status == 0:
        return "the process ended with exit status 0 in the middle of the import (os._exit, or exit in native code)"
    advice = ""
    if status == -4 and (known := session.explain_illegal_instruction(str(result["output"]))):
        advice = f"\n{known}"
    elif status == -4:
        advice = "\nCause: the module was compiled for a newer CPU than this one (-C target-cpu=native, -march)"
    return f"the process was ended by the import: {describe_status(status)}{advice}"


def _missing(trace: tuple[RemoteError, ...]) -> str:
    """Name the module that was not found; empty where that is not why an import failed."""
    # Of several, the last one counts: an earlier one may have been an attempt.
    named = [error.missing for error in trace if error.type == "ModuleNotFoundError" and error.missing]
    return named[-1] if named else ""


def _lacks(trace: tuple[RemoteError, ...], target: Target) -> bool:
    """Return whether an import failed because the interpreter lacks something that others of its version have."""
    top = _missing(trace).partition(".")[0]
    return top in _OPTIONAL or (not target.runtime.platform.is_windows and top in _OPTIONAL_ON_UNIX)


def _explain(trace: tuple[RemoteError, ...], target: Target) -> Iterable[str]:
    # The error that reached the importer is the last one.
    last = trace[-1]
    yield f"{last.type}: {last.message}" if last.message else last.type
    wheel, missing = target.wheel, _missing(trace)
    if not missing:
        return
    top = missing.partition(".")[0]
    if _lacks(trace, target):
        yield f"could not be checked: {top} is of the standard library, but this interpreter was built without it"
        yield "Fix: test with one that has it (--wheel-python PATH), or name the module in wheel_import_ignore"
        return
    if top in wheel.top_levels:
        yield f"Cause: the wheel lacks {missing}; it was left out when the wheel was built"
        return
    if top in sys.stdlib_module_names:
        yield f"Cause: {top} is of the standard library, but this interpreter does not have it"
        yield "Fix: declare the dependency that brings it, or lower Requires-Python"
        return
    extra = _extra_with(top, wheel)
    if extra:
        yield f"Cause: {top} is declared for the extra {extra!r} only, but a plain import needs it"
        yield f"Fix: import it lazily, move it to the plain dependencies, or test with --wheel-extra {extra}"
    else:
        yield f"Cause: the wheel does not declare a dependency that brings {top} (no Requires-Dist in METADATA)"
        yield "Fix: add it to [project] dependencies in pyproject.toml"


def _extra_with(top: str, wheel: Wheel) -> str | None:
    for text in wheel.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or canonicalize_name(requirement.name) != canonicalize_name(top):
            continue
        for extra in wheel.extras:
            if requirement.marker.evaluate({"extra": extra}) and not requirement.marker.evaluate({"extra": ""}):
                return extra
    return None


def _origin(result: Mapping[str, Any], context: ImportContext) -> Iterable[str]:
    file = str(result.get("file") or "")
    top = str(result["name"]).partition(".")[0]
    if result["kind"] == "import" and file and not is_inside(file, context.sites):
        yield f"{result['name']} was imported from {file}, not from the environment of the wheel"
        yield f"Cause: {top} is also a module of the interpreter, which is found first"
        return
    for name, origin in result["foreign"]:
        yield f"{name}, a module of the wheel, was imported from {origin}"
