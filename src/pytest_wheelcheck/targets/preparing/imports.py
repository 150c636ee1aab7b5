"""The result of each import that has a node of its own."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import RemoteError, StepResult
from pytest_wheelcheck.setting_lines import list_line, value_line
from pytest_wheelcheck.system.process import describe_status
from pytest_wheelcheck.targets.preparing import missing_modules
from pytest_wheelcheck.targets.preparing.entry_errors import explain_entry
from pytest_wheelcheck.targets.preparing.explanations import NO_FAULT, OPTIONAL, Explanation, Kind
from pytest_wheelcheck.targets.preparing.mapped_libraries import ImportContext, disallowed_libraries, is_inside
from pytest_wheelcheck.targets.running.crash_fix import CRASH_CAUSE, crash_fix
from pytest_wheelcheck.targets.running.own_frames import without_own_frames
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.modules import pyo3_version
from pytest_wheelcheck.worker.messages import ImportJob

#: Property of an import that failed: the type of the exception, or :data:`ENDED`.
NOT_IMPORTED = "not_imported"
ENDED = "the process ended"

#: Property of an import that did not find a module: its name.
MISSING = "missing_module"

#: Why a module enables the GIL of a free-threaded interpreter, and what to do about it.
GIL_CAUSE = "an extension module does not declare that it works without the GIL"
GIL_FIX = "if it is thread-safe, declare it: Py_mod_gil, or in PyO3 #[pymodule(gil_used = false)]"

#: Bytes of an extension module that are searched for the version of PyO3.
_PYO3_LIMIT = 256 << 20


def evaluate_import(
    job: ImportJob,
    result: Mapping[str, Any],
    target: Target,
    context: ImportContext,
    session: Session,
    main: Collection[str],
) -> StepResult:
    """Turn the worker's message about one import into the step of its node.

    :param session: explains how the interpreter ended.
    :param main: the top-level names that a plain installation must be able to import.
    :param result: an ``imported`` message, see :class:`pytest_wheelcheck.worker.messages.Imported`.
    """
    problems: list[str] = []
    warnings: list[str] = []
    failed: list[tuple[str, str]] = []
    skipped = unchecked = ""
    trace: tuple[RemoteError, ...] = ()
    kind = "entry" if result["kind"] == "entry" else "import"
    if result["timed_out"]:
        what = f"the {kind} itself succeeded, but the interpreter exceeded the timeout while it exited"
        if not result["complete"]:
            failed.append((NOT_IMPORTED, ENDED))
            what = "the import exceeded its timeout"
        problems.append(
            f"{what}, and its process was killed; the stacks of its threads are below\n"
            f"Fix: if it needs more time, set {value_line('test_timeout', 2 * context.test_timeout)}; for emulated targets, "
            f"set {value_line('timeout_scale', 2 * context.timeout_scale)}"
        )
    elif not result["complete"]:
        failed.append((NOT_IMPORTED, ENDED))
        problems.append(_describe_end(result, session, job, target, context))
    elif result["error"]:
        trace = RemoteError.chain(result["error"])
        found = missing_modules.explain(job["module"], trace, target, context.sites, context.project)
        failed.extend(_not_imported(trace, found))
        skipped = _skip_reason(found, is_main=kind == "import" and result["name"] in main)
        unchecked = found.unchecked
        problems.extend(_describe(trace, found))
        problems.extend(explain_entry(job, trace[-1], context.sites))
    elif ending := result.get("ending") or (describe_status(result["status"]) if result.get("status") else ""):
        problems.append(
            f"the {kind} itself succeeded, but the interpreter failed afterwards, while it exited: {ending}"
        )
    if result["complete"]:
        problems.extend(_origin(result, context))
        if result["gil"]:
            problems.append(
                f"importing {result['name']} enabled the GIL in a free-threaded interpreter\n"
                f"Cause: {GIL_CAUSE}\nFix: {GIL_FIX}"
            )
        for problem, is_needed in disallowed_libraries(result, target, context):
            (problems if is_needed else warnings).append(problem)
    output = without_own_frames(session.program_output(str(result["output"]))).strip()
    properties = (*_properties(result, context), *failed)
    name = f"{kind}[{result['name']}]"
    if skipped:
        return StepResult(name=name, outcome=Outcome.SKIPPED, text=skipped, properties=properties)
    if unchecked:
        return StepResult(name=name, outcome=Outcome.ERROR, text=unchecked, properties=properties)
    return StepResult(
        name=name,
        outcome=Outcome.FAILED if problems else Outcome.PASSED,
        seconds=float(result.get("seconds", 0.0)),
        text="\n".join(problems) or _summary(properties, result.get("after", "")),
        trace=trace,
        sections=(("Captured output of the import", output),) if output else (),
        properties=properties,
        warnings=tuple(warnings),
    )


def _not_imported(trace: tuple[RemoteError, ...], found: Explanation) -> Iterable[tuple[str, str]]:
    """Yield the properties of an import that raised."""
    yield NOT_IMPORTED, trace[-1].type
    if found.missing:
        yield MISSING, found.missing


def _skip_reason(found: Explanation, *, is_main: bool) -> str:
    """Return why an import is skipped that failed through no fault of the wheel; an empty string for a failure.

    :param is_main: a plain installation must be able to import it.
    """
    if found.kind not in (NO_FAULT if is_main else OPTIONAL):
        return ""
    return found.reason if found.kind is Kind.EXTRA or not found.fix else f"{found.reason}\nFix: {found.fix}"


def _summary(properties: Sequence[tuple[str, str]], after: str) -> str:
    """Summarize a successful import.

    :param after: the module that was imported before.
    """
    known = dict(properties)
    before = f" after {after}" if after else ""
    built = f", built with PyO3 {known['pyo3']}" if "pyo3" in known else ""
    return f"imported in {float(known['import_seconds']):.3f} s{before}{built}"


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


def _describe_end(
    result: Mapping[str, Any], session: Session, job: ImportJob, target: Target, context: ImportContext
) -> str:
    """Return how a process ended in the middle of an import."""
    text = str(result.get("ending") or _describe_death(result, session))
    if "Cause: " in text or not re.search(r"SIG(?:SEGV|ABRT|BUS|FPE|TRAP|ILL)\b|access violation", text):
        return text
    fix = crash_fix(target, ("-c", f"import {job['module']}"), context.extras)
    return f"{text}\nCause: {CRASH_CAUSE} of the module, or of a library that it loads" + (f"\n{fix}" if fix else "")


def _describe_death(result: Mapping[str, Any], session: Session) -> str:
    status = result["status"]
    if status == 0:
        return "the process ended with exit status 0 in the middle of the import (os._exit, or exit in native code)"
    advice = ""
    if status == -4 and (known := session.explain_illegal_instruction(str(result["output"]))):
        advice = f"\n{known}"
    elif status == -4:
        advice = (
            "\nCause: the module was compiled for a newer CPU than this one (-C target-cpu=native, -march)"
            "\nFix: compile for the baseline of the architecture, or select newer instructions at run time"
        )
    return f"the import ended the process: {describe_status(status)}{advice}"


def _describe(trace: tuple[RemoteError, ...], found: Explanation) -> Iterable[str]:
    # The error that reached the importer is the last one.
    last = trace[-1]
    yield f"{last.type}: {last.message}" if last.message else last.type
    if found.cause:
        yield f"Cause: {found.cause}"
    if found.kind is Kind.UNDECLARED:
        yield f"Fix: {found.fix}, or set {list_line('import_ignore', found.module)}"
    elif found.fix:
        yield f"Fix: {found.fix}"
    elif last.type == "ImportError" and found.file.endswith(".py"):
        # The code of the wheel raised it. Nobody but its author knows whether that is a fault.
        yield f"Cause: {found.file}, line {found.line}, raises it"
        yield f"Fix: if that is intended, set {list_line('import_ignore', found.module)}"


def _origin(result: Mapping[str, Any], context: ImportContext) -> Iterable[str]:
    file = str(result.get("file") or "")
    top = str(result["name"]).partition(".")[0]
    if result["kind"] == "import" and file and not is_inside(file, context.sites):
        yield f"{result['name']} was imported from {file}, not from the environment of the wheel"
        yield f"Cause: the interpreter has a module {top} of its own, and sys.path finds it first"
        yield "Fix: rename the module, or move it into the package (see WHL804)"
        return
    for name, origin in result["foreign"]:
        yield f"{name}, a module of the wheel, was imported from {origin}"
