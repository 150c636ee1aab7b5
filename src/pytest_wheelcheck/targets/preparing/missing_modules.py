"""Why an import did not find a module, and whose fault that is."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.results import RemoteError
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.targets.preparing import declared, known_modules, missing_libraries
from pytest_wheelcheck.targets.preparing.build_backends import with_backend
from pytest_wheelcheck.targets.preparing.explanations import ANY_BACKEND, OPTIONAL, Explanation, Kind, place
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.modules import describe_suffix, module_name
from pytest_wheelcheck.worker.guard import is_test_name

#: Names of ctypes that exist on Windows only.
_WINDOWS_NAMES = re.compile(r"\b(windll|oledll|WinDLL|OleDLL|WinError|WINFUNCTYPE|HRESULT)\b")


def missing_error(trace: tuple[RemoteError, ...]) -> RemoteError | None:
    """Return the error that reports a missing module. Of several, the last counts: an earlier one may be an attempt."""
    named = [error for error in trace if error.type == "ModuleNotFoundError" and error.missing]
    return named[-1] if named else None


def explain(
    name: str, trace: tuple[RemoteError, ...], target: Target, sites: tuple[Path, ...], project: Path
) -> Explanation:
    """Explain why an import failed.

    :param name: the module that was imported.
    :param trace: the exception chain.
    :param sites: the directories of installed modules.
    :param project: the directory of the project, whose build backend the fix may name.
    """
    last = trace[-1]
    file, line = _place(last, sites)
    error = missing_error(trace)
    ignore = f"if this is intended, set {list_line('import_ignore', name)}"
    if last.type == "ImportError" and (other := _refusal(last)):
        reason = f"{file}, line {line}, refuses to be imported before {other}"
        found = Explanation(
            kind=Kind.REFUSED, reason=reason, fix=f"to leave it out, set {list_line('import_ignore', name)}"
        )
    elif error is not None and error.missing is not None:
        file, line = _place(error, sites)
        found = _explain_missing(error.missing, name, file, target, sites)
        found = replace(found, missing=error.missing, fix=found.fix or ignore)
        if found.kind not in OPTIONAL:
            found = _of_an_attempt(trace, target, sites) or found
    elif library := missing_libraries.explain(name, trace, target, sites):
        found = library
    elif extra := _named_extra(last.message, target.wheel):
        found = Explanation(kind=Kind.EXTRA, reason=f"needs what the extra `{extra}` installs", fix=_with_extra(extra))
    elif not target.runtime.platform.is_windows and _WINDOWS_NAMES.search(last.message):
        found = Explanation(
            kind=Kind.SYSTEM,
            reason="is for Windows: it uses names that ctypes has only there",
            cause="it uses names that ctypes has only on Windows",
            fix=ignore,
        )
    elif kind := known_modules.foreign_system(name, target.runtime.platform.system):
        shown = known_modules.SYSTEM_NAMES.get(kind, kind)
        found = Explanation(
            kind=Kind.SYSTEM,
            reason=f"is for {shown}, by its name",
            cause=f"the name of the module shows that it is for {shown}",
            fix=ignore,
        )
    else:
        found = Explanation(kind=Kind.OTHER)
    return replace(with_backend(found, target.wheel, project), file=file, line=line, module=name)


def _of_an_attempt(trace: tuple[RemoteError, ...], target: Target, sites: tuple[Path, ...]) -> Explanation | None:
    """Explain an import of which several modules were tried, by the one that an extra installs: with it the first works."""
    for error in trace:
        top = (error.missing or "").partition(".")[0]
        if error.type == "ModuleNotFoundError" and top and (extra := declared.extra_that_brings(top, target, sites)):
            return replace(_of_extra(top, extra), missing=error.missing or "")
    return None


def _of_extra(top: str, extra: str) -> Explanation:
    return Explanation(
        kind=Kind.EXTRA,
        reason=f"needs {top}, which the extra `{extra}` installs",
        cause=f"{top} is declared for the extra {extra!r} only, but a plain import needs it",
        fix=_with_extra(extra),
    )


def _explain_missing(missing: str, name: str, file: str, target: Target, sites: tuple[Path, ...]) -> Explanation:
    wheel, platform = target.wheel, target.runtime.platform
    top = missing.partition(".")[0]
    if top in known_modules.OPTIONAL or (not platform.is_windows and top in known_modules.OPTIONAL_ON_UNIX):
        return Explanation(
            kind=Kind.BUILD,
            reason=f"needs {top}, a part of the standard library that this interpreter lacks",
            fix=f"test with an interpreter that has it (--wheel-python PATH), or set {list_line('import_ignore', name)}",
        )
    if top in wheel.top_levels:
        return _explain_own(missing, name, wheel, platform.system)
    if found := _of_another_place(top, platform.system):
        return found
    if extra := declared.extra_that_brings(top, target, sites):
        return _of_extra(top, extra)
    if requirement := declared.requirement_for_others(top, target):
        return Explanation(
            kind=Kind.SYSTEM,
            reason=f"needs {top}, which is not required on this target: {requirement}",
            cause=f"METADATA requires {top} only on other systems: {requirement}",
        )
    if found := _of_another_version(top) or _of_own_files(top, name, wheel, sites) or _of_the_rest(top, name, wheel):
        return found
    # The file of a frame in native code is a name in the source tree of whoever built it.
    if file not in wheel.files and any(
        (site / file).is_file() for site in sites if file and not Path(file).is_absolute()
    ):
        return Explanation(
            kind=Kind.DEPENDENCY,
            cause=f"{file} belongs to a dependency. It needs {top}, which the dependency's metadata does not require",
            fix=f"require the extra of the dependency that installs {top}, or report the missing requirement to its project",
        )
    if extra := declared.extra_of_name(name, target, sites):
        return Explanation(
            kind=Kind.EXTRA,
            reason=f"needs {top}, and is for the extra `{extra}`, by its name",
            cause=f"{top} is not declared for a plain installation",
            fix=_with_extra(extra),
        )
    if found := _of_named_system(top, name, platform.system):
        return found
    if top in {"pytest", "_pytest"} and (is_plugin(name, wheel, sites) or is_test_module(name, file, sites)):
        return Explanation(kind=Kind.TEST_TOOL, reason=f"needs {top}; projects that use {name} in their tests have it")
    if sibling := _sibling_module(top, file, wheel):
        return Explanation(
            kind=Kind.UNDECLARED,
            cause=(
                f"METADATA does not declare a dependency with {top}; {sibling} of the wheel has that name, but only Python 2 "
                "searches the package of the importing module"
            ),
            fix=f"write `from . import {top}`, or leave the module out of the wheel",
        )
    return Explanation(
        kind=Kind.UNDECLARED,
        cause=f"the wheel does not declare a dependency that brings {top} (no Requires-Dist in METADATA)",
        fix=(
            f"add {_distribution(top)} to [project] dependencies in pyproject.toml; or, if the users of {name} install it, "
            "declare an extra ([project.optional-dependencies])"
        ),
    )


def _distribution(top: str) -> str:
    """Name the distribution to declare for a module: a project with the module's name on the index may be another one."""
    known = known_modules.distribution_of(top)
    return known if known != canonicalize_name(top) else f"its project ({known}, if that is the name)"


def _of_another_version(top: str) -> Explanation | None:
    """Explain a module of the standard library of other versions of Python; ``None`` for any other module."""
    if top in known_modules.STANDARD_LIBRARY:
        return Explanation(
            kind=Kind.VERSION,
            cause=f"{top} is a module of the standard library that this version of Python does not have",
            fix="declare a dependency that installs it, or limit Requires-Python to the versions that have it",
        )
    if top in known_modules.PYTHON_2:
        return Explanation(
            kind=Kind.VERSION,
            cause=f"{top} is a module of Python 2",
            fix="leave the module out of the wheel, or write it for Python 3",
        )
    return None


def _of_the_rest(top: str, name: str, wheel: Wheel) -> Explanation | None:
    """Explain a module of the distribution that the wheel is the compiled part of; ``None`` for any other module."""
    if not declared.is_compiled_part(wheel, top):
        return None
    return Explanation(
        kind=Kind.PART,
        reason=f"needs {top}; by name and contents, the wheel is the compiled part of another distribution, which has {top}",
        fix=f"install the distribution that has the rest (--wheel-extra), or set {list_line('import_ignore', name)}",
    )


def _of_own_files(top: str, name: str, wheel: Wheel, sites: tuple[Path, ...]) -> Explanation | None:
    """Explain a module that the wheel has in another place than the top; ``None`` for any other module."""
    # A directory for sys.path is no package.
    directory = _directory_of(top, wheel)
    if (
        directory
        and f"{directory}/__init__.py" not in wheel.files
        and _changes_path(name.partition(".")[0], wheel, sites)
    ):
        return Explanation(
            kind=Kind.OWN_PATH,
            reason=(
                f"needs {top} in {directory} of the wheel; the wheel's own code adds this directory to sys.path before it "
                f"imports {top}"
            ),
            cause=f"{top} is in {directory} of the wheel, and this directory is not on sys.path",
        )
    return None


def _of_another_place(top: str, system: str) -> Explanation | None:
    """Explain a module that other systems have, or the Python inside a program; ``None`` for any other module."""
    for kind, names in known_modules.SYSTEMS.items():
        if top in names and not known_modules.is_for(kind, system):
            return _of_system(top, kind)
    if program := known_modules.PROGRAMS.get(top):
        return Explanation(
            kind=Kind.SYSTEM,
            reason=f"needs {top}, which only the Python inside {program} has",
            cause=f"only the Python inside {program} has {top}",
            fix=f"import it only inside {program}",
        )
    return None


def _explain_own(missing: str, name: str, wheel: Wheel, system: str) -> Explanation:
    top = missing.partition(".")[0]
    if found := _of_named_system(missing, name, system):
        return found
    others = [path for path in wheel.files if module_name(path) == missing]
    if described := next(filter(None, map(describe_suffix, others)), ""):
        return Explanation(
            kind=Kind.LACKS,
            cause=f"the wheel has {missing} only as {others[0]}, which is for {described} (see WHL603)",
            fix="build the extension with the interpreter, C library and architecture of the tag, in a clean build directory",
        )
    below = [path for path in wheel.files if path.startswith(f"{top}/")]
    is_part = canonicalize_name(top) != canonicalize_name(wheel.name) and not any(
        path.endswith((".py", ".pyc")) for path in (*below, *(path for path in wheel.files if path == f"{top}.py"))
    )
    if is_part and below:
        return Explanation(
            kind=Kind.PART,
            reason=f"the wheel has only native modules of the package {top}: another distribution brings {missing}",
            fix=f"install the distribution that has the rest (--wheel-extra), or set {list_line('import_ignore', name)}",
        )
    return Explanation(
        kind=Kind.LACKS,
        cause=(
            f"the wheel does not contain {missing}: the build left it out, or the import names a module that does not exist"
        ),
        fix=ANY_BACKEND,
    )


def _of_named_system(missing: str, name: str, system: str) -> Explanation | None:
    """Explain a module that is for another system, by its name or that of the importing one; ``None`` for any other module."""
    kind = known_modules.foreign_system(missing, system) or known_modules.foreign_system(name, system)
    return _of_system(missing, kind) if kind else None


def _of_system(name: str, kind: str) -> Explanation:
    shown = known_modules.SYSTEM_NAMES.get(kind, kind)
    return Explanation(
        kind=Kind.SYSTEM,
        reason=f"needs {name}, a module for {shown}",
        cause=f"{name} is a module for {shown}",
        fix=f"import it only on {shown}",
    )


def is_plugin(name: str, wheel: Wheel, sites: tuple[Path, ...]) -> bool:
    """Return whether pytest loads a module of the wheel, by an entry point of ``pytest11``."""
    for distribution in distributions(path=list(map(str, sites))):
        if canonicalize_name(distribution.name) == canonicalize_name(wheel.name):
            # A check reports entry_points.txt if it cannot be parsed.
            with contextlib.suppress(TypeError, ValueError):
                plugins = distribution.entry_points.select(group="pytest11")
                return name in {plugin.value.partition(":")[0].strip() for plugin in plugins}
    return False


def is_test_module(name: str, file: str, sites: tuple[Path, ...]) -> bool:
    """Return whether a module is for tests or a pytest plugin: by its name, its hooks or its fixtures."""
    parts = name.split(".")
    if any(is_test_name(part) or "testing" in part or "pytest" in part for part in parts):
        return True
    for site in sites:
        try:
            text = (site / file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        return (
            re.search(r"^\s*(?:async )?def pytest_\w+\(|^\s*@pytest\.(?:fixture|hookimpl)", text, re.MULTILINE)
            is not None
        )
    return False


def _place(error: RemoteError, sites: tuple[Path, ...]) -> tuple[str, int]:
    """Return file and line of the innermost frame."""
    return (place(error.frames[-1], sites), error.frames[-1].line) if error.frames else ("", 0)


def _refusal(error: RemoteError) -> str:
    """Return the module that has to be imported before, if the raising code says so: ``if "x" not in sys.modules``."""
    if not error.frames:
        return ""
    match = re.search(r"""["']([\w.]+)["'] not in sys\.modules""", "\n".join(error.frames[-1].lines))
    return match[1] if match else ""


def _named_extra(message: str, wheel: Wheel) -> str:
    """Return the extra that a message names as pip takes it: ``pkg[extra]``."""
    for match in re.finditer(r"([\w.-]+)\[([\w.,-]+)\]", message):
        if canonicalize_name(match[1]) == canonicalize_name(wheel.name):
            names = {canonicalize_name(part) for part in match[2].split(",")}
            found = [extra for extra in wheel.extras if canonicalize_name(extra) in names]
            if found:
                return found[0]
    return ""


def _with_extra(extra: str) -> str:
    return f"import it lazily, move it to the plain dependencies, or test with --wheel-extra {extra}"


def _sibling_module(top: str, file: str, wheel: Wheel) -> str:
    """Return the file of a module in the same package as a file of the wheel; empty if there is none."""
    directory = file.rpartition("/")[0]
    if not directory or f"{directory}/__init__.py" not in wheel.files:
        return ""
    return next(
        (path for path in (f"{directory}/{top}.py", f"{directory}/{top}/__init__.py") if path in wheel.files), ""
    )


def _directory_of(top: str, wheel: Wheel) -> str:
    """Return the directory of the wheel that contains a module, if it is not at the top."""
    for path in wheel.files:
        parts = path.split("/")
        stem = parts[-1].partition(".")[0]
        if path.endswith((".py", ".so", ".pyd")) and len(parts) > 1 and stem == top and "." in parts[-1]:
            return "/".join(parts[:-1])
        if path.endswith(".py") and top in parts[1:-1]:
            return "/".join(parts[: parts.index(top, 1)])
    return ""


def _changes_path(top: str, wheel: Wheel, sites: tuple[Path, ...]) -> bool:
    """Return whether the code of a top-level package of the wheel changes ``sys.path``."""
    for path in wheel.files:
        if path.startswith(f"{top}/") and path.endswith(".py"):
            for site in sites:
                with contextlib.suppress(OSError):
                    if re.search(rb"\bsys\.path(\.\w|\[| = | \+= )|\baddsitedir\b", (site / path).read_bytes()):
                        return True
    return False
