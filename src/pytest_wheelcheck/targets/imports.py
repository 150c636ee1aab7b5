"""The import check: what to import on a target, and the verdict on what came back.

Runs before any test tool is in reach, so that a dependency which the wheel does not declare is missed.
"""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.backends.qemu import machines
from pytest_wheelcheck.model import Outcome, Runtime, Target, Wheel
from pytest_wheelcheck.results import RemoteError, StepResult
from pytest_wheelcheck.system.process import describe_status
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

#: Libraries that the C library itself loads by name, for whoever asks it for a user or a host.
_LIBC_PLUGINS = ("libnss_", "ld-linux", "ld-musl", "ld64.so", "libc.so", "libc.musl-", "linux-vdso")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the target's files are, for the verdict.

    :param environment: root of the virtual environment.
    :param sites: its site-packages folders.
    :param runtime_prefixes: folders of the interpreter itself.
    """

    environment: Path
    sites: tuple[Path, ...]
    runtime_prefixes: tuple[Path, ...]


def judge(result: Mapping[str, Any], target: Target, place: Place) -> StepResult:
    """Turn the worker's message about one import into the step of its node.

    :param result: an :class:`~pytest_wheelcheck.worker.messages.Imported`; with ``ending`` (how the process ended, in
        words) where the controller started a process for each import.
    """
    problems: list[str] = []
    trace: tuple[RemoteError, ...] = ()
    kind = "entry" if result["kind"] == "entry" else "import"
    if result["timed_out"]:
        problems.append("it did not end in time and was killed; the stacks of its threads are below")
    elif not result["complete"]:
        problems.append(result.get("ending") or _died(result, target))
    elif result["error"]:
        trace = RemoteError.chain(result["error"])
        problems.extend(_explain(trace, target))
    elif ending := result.get("ending") or (describe_status(result["status"]) if result.get("status") else ""):
        problems.append(f"the {kind} itself went well, but the interpreter did not end well afterwards: {ending}")
    if result["complete"]:
        problems.extend(_origin(result, place))
        if result["gil"]:
            problems.append(
                f"importing {result['name']} switched the GIL on in a free-threaded interpreter\n"
                "Cause: an extension module does not declare that it works without the GIL "
                "(Py_mod_gil; in PyO3: #[pymodule(gil_used = false)])"
            )
        problems.extend(_libraries(result, target, place))
    output = str(result["output"]).strip()
    properties = tuple(_properties(result, place))
    return StepResult(
        name=f"{kind}[{result['name']}]",
        outcome=Outcome.PASSED if not problems else Outcome.ERROR if _lacks(trace, target) else Outcome.FAILED,
        seconds=float(result.get("seconds", 0.0)),
        text="\n".join(problems) or _told(properties),
        trace=trace,
        sections=(("Captured output of the import", output),) if output else (),
        properties=properties,
    )


def _told(properties: Sequence[tuple[str, str]]) -> str:
    """Say what is worth knowing of an import that went well."""
    known = dict(properties)
    built = f", built with PyO3 {known['pyo3']}" if "pyo3" in known else ""
    return f"imported in {float(known['import_seconds']):.3f} s{built}"


def _properties(result: Mapping[str, Any], place: Place) -> Iterable[tuple[str, str]]:
    if result["complete"]:
        yield "import_seconds", f"{result['seconds']:.4f}"
        version = built_with_pyo3(result.get("file") or "", place)
        if version:
            yield "pyo3", version


@lru_cache(maxsize=256)
def _pyo3_of(path: str) -> str | None:
    try:
        with Path(path).open("rb") as file:
            return pyo3_version(file.read(_PYO3_LIMIT))
    except OSError:
        return None


def built_with_pyo3(file: str, place: Place) -> str | None:
    """Return the version of PyO3 that built an extension module, where the binary tells."""
    if file.endswith((".so", ".pyd")) and _inside(file, place.sites):
        return _pyo3_of(file)
    return None


def _died(result: Mapping[str, Any], target: Target) -> str:
    status = result["status"]
    if status == 0:
        return "the process ended with exit status 0 in the middle of the import (os._exit, or exit in native code)"
    advice = ""
    if status == -4 and (known := machines.explain(str(result["output"]), target.runtime, target.machine)):
        advice = f"\n{known}"
    elif status == -4:
        advice = "\nCause: the module was compiled for a newer CPU than this one (-C target-cpu=native, -march)"
    return f"the process was ended by the import: {describe_status(status)}{advice}"


def _missing(trace: tuple[RemoteError, ...]) -> str:
    """Name the module that was not found; empty where that is not why an import failed."""
    # Of several the last one counts: what stands before it may have been a try.
    named = [error.missing for error in trace if error.type == "ModuleNotFoundError" and error.missing]
    return named[-1] if named else ""


def _lacks(trace: tuple[RemoteError, ...], target: Target) -> bool:
    """Say whether an import failed for want of something that other interpreters of this version have."""
    top = _missing(trace).partition(".")[0]
    return top in _OPTIONAL or (target.runtime.system != "win32" and top in _OPTIONAL_ON_UNIX)


def _explain(trace: tuple[RemoteError, ...], target: Target) -> Iterable[str]:
    # The error that reached the importer stands last.
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


def _inside(file: str, folders: Iterable[Path]) -> bool:
    real = os.path.realpath(file)
    return any(real.startswith(os.path.realpath(folder) + os.sep) for folder in folders)


def _origin(result: Mapping[str, Any], place: Place) -> Iterable[str]:
    file = str(result.get("file") or "")
    top = str(result["name"]).partition(".")[0]
    if result["kind"] == "import" and file and not _inside(file, place.sites):
        yield f"{result['name']} was imported from {file}, not from the environment of the wheel"
        yield f"Cause: {top} is also a module of the interpreter, which is found first"
        return
    for name, origin in result["foreign"]:
        yield f"{name}, a module of the wheel, was imported from {origin}"


# --- libraries mapped by the import ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Library:
    soname: str
    needed: tuple[str, ...]


@lru_cache(maxsize=1024)
def _read_elf(path: str) -> _Library:
    """Read what a shared object calls itself and needs. A file that is none has neither."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    soname, needed = Path(path).name, []
    try:
        with Path(path).open("rb") as file:
            section = ELFFile(file).get_section_by_name(".dynamic")
            if isinstance(section, DynamicSection):
                for tag in section.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        needed.append(str(getattr(tag, "needed", "")))
                    elif tag.entry.d_tag == "DT_SONAME":
                        soname = str(getattr(tag, "soname", soname))
    except (OSError, ELFError, ValueError, KeyError, AttributeError):
        pass
    return _Library(soname, tuple(needed))


def allowed_libraries(wheel: Wheel, runtime: Runtime) -> frozenset[str] | None:
    """Return the system libraries that the wheel's platform tag allows, from auditwheel's policies.

    :returns: sonames; ``None`` where the tag promises nothing (``linux_*``) or is not a Linux tag.
    """
    tags = [tag for tag in wheel.platforms if tag.startswith(("manylinux", "musllinux"))]
    if runtime.system != "linux" or not tags:
        return None
    from auditwheel.architecture import Architecture
    from auditwheel.libc import Libc
    from auditwheel.policy import WheelPolicies

    try:
        policies = WheelPolicies(
            libc=Libc.MUSL if runtime.libc == "musl" else Libc.GLIBC, arch=Architecture(runtime.architecture)
        )
    except ValueError:
        return None
    names: set[str] = set()
    for policy in policies:
        if policy.name in tags or set(policy.aliases) & set(tags):
            names |= set(policy.whitelist)
    if not names:
        # A tag newer than auditwheel's table: the newest policy it knows.
        names = set().union(*(policy.whitelist for policy in policies))
    return frozenset(names)


def _libraries(result: Mapping[str, Any], target: Target, place: Place) -> Iterable[str]:
    allowed = allowed_libraries(target.wheel, target.runtime)
    if allowed is None:
        return
    mapped = [path for path in result["mapped"] if _is_library(path)]
    before = [path for path in result["before"] if _is_library(path)]
    outside = [path for path in mapped if not _inside(path, (place.environment,))]
    by_name = {_read_elf(path).soname: path for path in (*before, *mapped)}
    # What the interpreter's own modules pull in is theirs, and so is what an allowed library needs.
    accepted = set(before) | {path for path in outside if _inside(path, place.runtime_prefixes)}
    accepted |= {path for path in outside if _read_elf(path).soname in allowed}
    accepted |= {path for path in outside if Path(path).name.startswith(_LIBC_PLUGINS) or "/gconv/" in path}
    todo = list(accepted)
    while todo:
        for name in _read_elf(todo.pop()).needed:
            path = by_name.get(name)
            if path is not None and path not in accepted and path in outside:
                accepted.add(path)
                todo.append(path)
    # What a file of the environment names itself is its own need, also where the interpreter happens to have it.
    named = {name for path in mapped if _inside(path, (place.environment,)) for name in _read_elf(path).needed}
    for path in (*outside, *before):
        soname = _read_elf(path).soname
        wanted = soname in named and soname not in allowed and not soname.startswith((*_LIBC_PLUGINS, "libpython"))
        if path in accepted and not wanted:
            continue
        users = sorted(Path(other).name for other in mapped if other != path and soname in _read_elf(other).needed)
        by = f", needed by {', '.join(users)}" if users else ""
        tag = next(tag for tag in target.wheel.platforms if tag.startswith(("manylinux", "musllinux")))
        yield (
            f"the import maps {path}{by}: the tag {tag} does not allow the library {soname}\n"
            "Cause: it was not copied into the wheel, and works here only because this system has it\n"
            "Fix: let auditwheel repair (or maturin --auditwheel=repair) bundle it, or link it statically"
        )


def _is_library(path: str) -> bool:
    return re.search(r"\.so(\.|$)", Path(path).name) is not None
