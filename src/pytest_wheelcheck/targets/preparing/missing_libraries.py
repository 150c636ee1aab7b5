"""Why the loader did not find a native library, and whose fault that is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from pytest_wheelcheck.checks.linux import C_LIBRARY
from pytest_wheelcheck.results import RemoteError
from pytest_wheelcheck.targets.preparing.explanations import Explanation, Kind, place, relative
from pytest_wheelcheck.targets.preparing.mapped_libraries import allowed_libraries, files_that_need
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.modules import module_name

#: Messages of the loaders about a library that was not found: glibc (``elf/dl-load.c``), musl (``ldso/dynlink.c``), dyld of
#: macOS. Some name the file that needs it.
_MESSAGES = (
    re.compile(r"^(?P<library>[^\s:]+): cannot open shared object file: No such file", re.MULTILINE),
    re.compile(r"Error loading shared library (?P<library>[^\s:]+): No such file .*\(needed by (?P<file>[^)]+)\)"),
    re.compile(r"Library not loaded: (?P<library>\S+)\s+Referenced from: (?:<[^>]+> )?(?P<file>\S+)"),
)

#: The message of Windows, which names no library.
_DLL = re.compile(r"DLL load failed while importing \w+: (?:The specified module could not be found|Module not found)")

_PYTHON_LIBRARY = re.compile(r"libpython\d")

#: How the tools are called that copy libraries into a wheel, and the checks that find one that is missing, by system.
_REPAIR = {"linux": ("auditwheel repair", "WHL301"), "darwin": ("delocate-wheel -w wheelhouse", "WHL403")}


def explain(name: str, trace: tuple[RemoteError, ...], target: Target, sites: tuple[Path, ...]) -> Explanation | None:
    """Explain an import that failed because a native library is missing; return ``None`` for any other.

    :param name: the module that was imported.
    :param trace: the exception chain.
    :param sites: the directories of installed modules.
    """
    for error in reversed(trace):
        if error.type not in {"ImportError", "OSError"}:
            continue
        if _DLL.search(error.message):
            return Explanation(
                kind=Kind.LIBRARY,
                cause="a DLL that it needs is not in the wheel, and not in a directory of this system that is searched",
                fix=f"put the DLL into the wheel before it is tested: delvewheel repair {target.wheel.shown} (see WHL503)",
            )
        if match := next(filter(None, (pattern.search(error.message) for pattern in _MESSAGES)), None):
            library = posixpath.basename(match["library"])
            return _explain(library, match.groupdict().get("file") or "", name, error, target, sites)
    return None


def _explain(
    library: str, named: str, name: str, error: RemoteError, target: Target, sites: tuple[Path, ...]
) -> Explanation | None:
    wheel = target.wheel
    files = [relative(named, sites)] if named else _files_that_need(library, wheel.files, sites)
    own = [file for file in files if file in wheel.files]
    if own:
        return _of_own_file(_imported(own, name, error, sites), library, target, sites)
    owners = dict(_installed_files(sites))
    others = files or _files_that_need(library, [file for file in owners if _is_native(file)], sites)
    if found := next((file for file in others if file in owners), None):
        return Explanation(
            kind=Kind.DEPENDENCY_LIBRARY,
            reason=f"the dependency {owners[found]} cannot be loaded",
            cause=f"its {found} needs {library}, which it does not bring, and which this system does not have",
            fix=f"install {library} on this system, or report it to the project {owners[found].partition(' ')[0]}",
        )
    last = next((frame for frame in reversed(error.frames) if Path(frame.file).parent.name != "ctypes"), None)
    if last and (file := place(last, sites)) in wheel.files:
        return Explanation(
            kind=Kind.LIBRARY,
            cause=f"{file}, line {last.line}, opens {library}, which is not found: the loader does not have it on this system",
            fix="put it into the wheel as a file of the package, and open it by its path there",
        )
    return None


def _imported(files: list[str], name: str, error: RemoteError, sites: tuple[Path, ...]) -> str:
    """Return the one of several files that was imported, as far as names show it. The exception has only the last part."""
    directory = posixpath.dirname(place(error.frames[-1], sites)) if error.frames else ""

    def likeness(file: str) -> tuple[bool, bool, bool]:
        module = module_name(file) or ""
        return module == name, module.rpartition(".")[2] == error.missing, posixpath.dirname(file) == directory

    return max(files, key=likeness)


def _of_own_file(file: str, library: str, target: Target, sites: tuple[Path, ...]) -> Explanation:
    """Explain a library that a file of the wheel needs."""
    wheel, platform = target.wheel, target.runtime.platform
    same_name = [path for path in wheel.files if posixpath.basename(path) == library]
    installed = same_name or [path for path, _ in _installed_files(sites) if posixpath.basename(path) == library]
    if installed:
        directory = posixpath.relpath(posixpath.dirname(installed[0]) or ".", posixpath.dirname(file) or ".")
        where = f"the wheel contains {installed[0]}" if same_name else f"a dependency installs {installed[0]}"
        origin = "$ORIGIN" if platform.is_linux else "@loader_path"
        tool = "patchelf --set-rpath" if platform.is_linux else "install_name_tool -add_rpath"
        cause = f"{where}, but {file}, which needs {library}, does not search for it there"
        fix = f"add that directory to its search path, before the wheel is packed: {tool} '{origin}/{directory}' FILE"
    elif C_LIBRARY.match(library):
        cause = f"{file} needs {library}, the C library of other systems than this one"
        fix = "build it in an image with the C library of the tag (see WHL304)"
    elif _PYTHON_LIBRARY.match(library):
        cause = f"{file} is linked against {library}, which most interpreters do not have: they bring its functions themselves"
        fix = "do not link it: an extension module needs no library of Python"
    elif library in (allowed_libraries(wheel.platforms, platform) or ()):
        cause = f"{file} needs {library}; the tag expects it on every system, and this system does not have it"
        fix = f"install {library} on this system, or link it statically"
    else:
        command, code = _REPAIR.get(platform.system, _REPAIR["linux"])
        if all(tag.startswith("linux_") for tag in wheel.platforms):
            code = "WHL302"
        cause = f"the wheel does not contain {library}, which {file} needs, and this system does not have it"
        fix = f"copy it into the wheel where it is built, before it is tested: {command} {wheel.shown} (see {code})"
    return Explanation(kind=Kind.LIBRARY, cause=cause, fix=fix)


def _files_that_need(library: str, files: list[str] | tuple[str, ...], sites: tuple[Path, ...]) -> list[str]:
    paths = {str(site / file): file for file in files if _is_native(file) for site in sites if (site / file).is_file()}
    return [paths[path] for path in files_that_need(library, paths)]


def _is_native(file: str) -> bool:
    return re.search(r"\.(so|dylib)(\.|$)", posixpath.basename(file)) is not None


def _installed_files(sites: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield the files of all distributions, each with the name and version of its distribution."""
    for distribution in distributions(path=list(map(str, sites))):
        for file in distribution.files or ():
            yield file.as_posix(), f"{distribution.name} {distribution.version}"
