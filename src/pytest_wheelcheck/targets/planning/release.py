"""The wheels of one invocation: from the paths that the user gave to parsed wheels and their static checks."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_wheelcheck.checks import MAX_SIZE, CheckResult, run_checks, run_container_checks
from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.errors import UsageError, WheelError
from pytest_wheelcheck.model import ContentsEntry, Outcome, Section, Severity, Wheel
from pytest_wheelcheck.results import StepResult, unexpected
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.index_names import is_spec
from pytest_wheelcheck.wheels.reader import open_wheel
from pytest_wheelcheck.wheels.sections import with_sections

if TYPE_CHECKING:
    from pytest_wheelcheck.wheels.binary import Binary

#: The name of the node for static checks that could not be run.
_CHECKS = "checks"


@dataclass(frozen=True, kw_only=True, slots=True)
class BadWheel:
    """A file that was given as a wheel and cannot be opened as one.

    :param shown: its path as shown in node ids.
    :param path: the user's file.
    :param copy: our own copy of it; the user's file if it was not copied, because its name is wrong.
    :param step: the failed step, with the reason.
    """

    shown: str
    path: Path
    copy: Path
    step: StepResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """The files that one invocation tests.

    :param files: the given files, in order.
    :param others: files in the given directories that are not wheels.
    """

    files: tuple[Wheel | BadWheel, ...]
    others: tuple[Path, ...]

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """The files that could be opened."""
        return tuple(file for file in self.files if isinstance(file, Wheel))


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenWheel:
    """A wheel file of the run.

    :param path: of the user's file, or of a downloaded one in the cache; nothing may change it.
    :param shown: how node ids name it.
    """

    path: Path
    shown: str


def absolute(path: str, directory: Path) -> Path:
    """Return the absolute form of *path*, relative to *directory*, without ``..`` but with links as the user wrote them.

    :param path: may start with ``~``.
    """
    whole = os.path.join(directory, os.path.expanduser(path))  # noqa: PTH111, PTH118 - Path raises for unknown users
    normalized = os.path.normpath(whole)
    if os.path.realpath(normalized) == os.path.realpath(whole):
        return Path(normalized)
    # After a link, `..` is the parent of the link's target.
    parts = Path(whole).parts
    end = len(parts) - parts[::-1].index("..")
    return Path(os.path.realpath(os.path.join(*parts[:end])), *parts[end:])  # noqa: PTH118


def locate(path: str, cwd: Path, root: Path) -> Path:
    """Return the absolute form of a path that starts at the current directory, or at the root directory as in node ids."""
    found = absolute(path, cwd)
    if not found.exists() and (other := absolute(path, root)).exists():
        return other
    return found


def find_files(
    given: tuple[str, ...], cwd: Path, root: Path, index: InstallSettings
) -> tuple[list[GivenWheel], list[Path]]:
    """Expand files, directories, globs and releases on the package index.

    :param given: what the user gave.
    :param cwd: the directory that relative paths start from.
    :param root: the directory that node ids are relative to.
    :param index: where packages come from.
    :returns: wheels in the given order, each once; and the other files of the given directories and releases.
    :raises UsageError: an entry matches no wheel.
    :raises PackageIndexError: the index cannot be asked.
    """
    wheels: dict[str, GivenWheel] = {}
    others: list[Path] = []
    for text in given:
        if is_spec(text):
            from pytest_wheelcheck.targets.planning.published import download

            published, further = download(text, index)
            others += further
            for found, shown in published:
                wheels.setdefault(os.path.realpath(found), GivenWheel(path=found, shown=shown))
            continue
        if text.startswith("release::"):
            raise UsageError(
                f"--wheel {text}: this is a node of the release, not a wheel",
                fix=f"write it after the wheels, as in `pytest --wheel dist {shlex.quote(text)}`, "
                "with the --wheel-expect of that run",
            )
        path = locate(text, cwd, root)
        if path.is_dir():
            matches = sorted(path.glob("*.whl"))
            others += sorted(file for file in path.iterdir() if file.is_file() and file.suffix != ".whl")
            if not matches:
                raise UsageError(
                    f"--wheel {text}: the directory {path} has no wheels{_listing(path)}",
                    fix="build the wheels first, or give the directory that contains them",
                )
        elif path.is_file():
            matches = [path]
        else:
            base = _existing_parent(path)
            pattern = os.path.join(glob.escape(str(base)), path.relative_to(base))  # noqa: PTH118
            matches = sorted(Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file())  # noqa: PTH207
            if not matches:
                raise _no_match(text, path)
        for wheel in matches:
            if wheel.suffix != ".whl":
                raise UsageError(
                    f"--wheel {text}: {wheel} is not a .whl file",
                    fix="build a wheel from the sdist or source directory first; only built wheels are tested",
                )
            wheels.setdefault(os.path.realpath(wheel), GivenWheel(path=wheel, shown=shown_path(wheel, root)))
    return list(wheels.values()), others


def _existing_parent(path: Path) -> Path:
    """Return the nearest parent that exists. Characters of a glob up to there are part of a name."""
    return next(parent for parent in path.parents if parent.is_dir())


def _no_match(text: str, path: Path) -> UsageError:
    directory, base = path.parent, _existing_parent(path)
    while glob.has_magic(str(directory.relative_to(base))):
        directory = directory.parent
    if glob.has_magic(text):
        message = f"--wheel {text}: no file matches in {directory}{_listing(directory)}"
    else:
        message = f"--wheel {text}: there is no such file in {directory}{_listing(directory)}"
    return UsageError(
        message, fix="build the wheels first, or correct the path (relative paths start at the current directory)"
    )


def _listing(directory: Path) -> str:
    if not directory.is_dir():
        return ", which does not exist"
    names = sorted(entry.name for entry in directory.iterdir())
    return f"; it contains {first_names(names)}" if names else "; it is empty"


def shown_path(path: Path, root: Path) -> str:
    """Return a path as shown in node ids: relative to the root directory, with ``/``."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def open_release(
    given: tuple[str, ...], *, cwd: Path, root: Path, store: Path, index: InstallSettings | None = None
) -> Release:
    """Open every wheel once.

    :param given: what the user gave: paths, or releases on the package index.
    :param cwd: the directory that relative paths start from.
    :param root: the directory that node ids are relative to.
    :param store: directory for our copies.
    :param index: where packages come from.
    :raises UsageError: an entry matches no wheel.
    :raises PackageIndexError: the index cannot be asked.
    """
    found, others = find_files(given, cwd, root, index or InstallSettings())
    files: list[Wheel | BadWheel] = []
    for number, file in enumerate(found):
        path, shown = file.path, file.shown
        directory = store / str(number)
        try:
            files.append(open_wheel(path, shown=shown, store=directory))
        except WheelError as error:
            step = StepResult(name="open", outcome=Outcome.FAILED, text=str(error))
        except Exception as error:  # noqa: BLE001 - a bug that one wheel meets; the others are tested
            step = unexpected("open", error)
        else:
            continue
        copy = next(directory.glob("*/*"), path)
        files.append(BadWheel(shown=shown, path=path, copy=copy, step=step))
    return Release(files=tuple(files), others=tuple(others))


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticResults:
    """The results of the static checks of one file.

    :param steps: one for each check.
    :param stopped_by: names of failed checks that forbid installing it.
    :param contents: those of the wheel, with the sections of its native files; empty if no check reads native files.
    """

    steps: tuple[StepResult, ...]
    stopped_by: tuple[str, ...] = ()
    contents: tuple[ContentsEntry, ...] = ()

    def to_json(self) -> str:
        """Return the results as JSON text."""
        steps = [step.to_json() for step in self.steps]
        contents = list(map(dataclasses.asdict, self.contents))
        return json.dumps({"steps": steps, "stopped_by": self.stopped_by, "contents": contents})

    @classmethod
    def from_json(cls, text: str) -> StaticResults:
        """Parse the text of :meth:`to_json`."""
        data = json.loads(text)
        return cls(
            steps=tuple(map(StepResult.from_json, data["steps"])),
            stopped_by=tuple(data["stopped_by"]),
            contents=tuple(
                ContentsEntry(**{**entry, "sections": tuple(Section(**each) for each in entry["sections"])})
                for entry in data["contents"]
            ),
        )


def check_file(
    file: Wheel | BadWheel,
    release: Release,
    *,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    max_size: int = MAX_SIZE,
    on_stopping: Callable[[tuple[str, ...]], None] = lambda _: None,
) -> StaticResults:
    """Run the static checks on one file.

    :param select: codes or prefixes of codes; empty for all.
    :param ignore: codes or prefixes to leave out.
    :param max_size: maximum size of a wheel in bytes, above which a check warns.
    :param on_stopping: as for :func:`~pytest_wheelcheck.checks.run_checks`. It is not called for a file that is no wheel, and if
        the checks met an unexpected exception before.
    :returns: the results. An unexpected exception becomes an error, which forbids an installation.
    :raises UsageError: a code or prefix matches no check.
    """
    try:
        return _check_file(file, release, select, ignore, max_size, on_stopping)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug that one wheel meets; the others are checked
        step = (file.step,) if isinstance(file, BadWheel) else ()
        return StaticResults(steps=(*step, unexpected(_CHECKS, error)), stopped_by=(_CHECKS,))


def _check_file(
    file: Wheel | BadWheel,
    release: Release,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    max_size: int,
    on_stopping: Callable[[tuple[str, ...]], None],
) -> StaticResults:
    if isinstance(file, BadWheel):
        try:
            results = run_container_checks(file.copy, select=select, ignore=ignore)
        except OSError:
            results = []  # the step has the reason
        return StaticResults(steps=(file.step, *map(_step_result, results)))
    native: list[Binary] = []
    results = run_checks(
        file,
        select=select,
        ignore=ignore,
        release=release.wheels,
        max_size=max_size,
        for_install=True,
        on_stopping=on_stopping,
        native=native,
    )
    return StaticResults(
        steps=tuple(map(_step_result, results)),
        stopped_by=tuple(result.check.name for result in results if result.stops_install),
        contents=with_sections(file.contents, native, file.dist_info) if native else (),
    )


def _step_result(result: CheckResult) -> StepResult:
    check = result.check
    errors = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    lines = [result.error] if result.error else []
    lines += [f"{check.code}: {finding.message}" for finding in errors]
    if lines:
        # A finding may have a reason of its own.
        reasons = dict.fromkeys(finding.reason for finding in errors) or [check.reason]
        fixes = dict.fromkeys(finding.fix for finding in errors) or [check.fix]
        lines += [f"Why it matters: {' '.join(reasons)}", f"Fix: {'; '.join(fixes)}"]
    return StepResult(
        name=check.name,
        outcome=result.outcome,
        text="\n".join(lines) or result.skip_reason,
        traceback=result.traceback,
        warnings=tuple(
            f"{check.code}: {finding.message} (fix: {check.fix})"
            for finding in result.findings
            if finding.severity is Severity.WARNING
        ),
    )
