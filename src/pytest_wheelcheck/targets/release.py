"""The wheels of one invocation: from what the user wrote to opened, parsed wheels."""

from __future__ import annotations

import glob
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.checks import CheckResult, run_checks, run_container_checks
from pytest_wheelcheck.checks.base import MAX_SIZE
from pytest_wheelcheck.errors import UsageError, WheelError
from pytest_wheelcheck.model import Outcome, Severity, Wheel
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.wheels.reader import open_wheel


@dataclass(frozen=True, kw_only=True, slots=True)
class BadWheel:
    """A file that was given as a wheel and may not be opened.

    :param shown: its path for node ids.
    :param path: the user's file.
    :param copy: our own copy of it; the user's file where it never came to a copy, since its name is wrong.
    :param step: why.
    """

    shown: str
    path: Path
    copy: Path
    step: StepResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What one invocation tests.

    :param files: what was given, in order.
    :param others: files that lie in a folder given and are no wheels.
    """

    files: tuple[Wheel | BadWheel, ...]
    others: tuple[Path, ...]

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """The files that are wheels."""
        return tuple(file for file in self.files if isinstance(file, Wheel))


def absolute(path: str, folder: Path) -> Path:
    """Return *path* seen from *folder*, with ``..`` taken out but links kept as the user wrote them."""
    whole = os.path.join(folder, os.path.expanduser(path))  # noqa: PTH111, PTH118 - Path raises for unknown users
    plain = os.path.normpath(whole)
    if os.path.realpath(plain) == os.path.realpath(whole):
        return Path(plain)
    # Behind a link, `..` is the parent of what the link points to.
    parts = Path(whole).parts
    end = len(parts) - parts[::-1].index("..")
    return Path(os.path.realpath(os.path.join(*parts[:end])), *parts[end:])  # noqa: PTH118


def find_files(given: tuple[str, ...], cwd: Path) -> tuple[list[Path], list[Path]]:
    """Expand files, folders and globs.

    :returns: wheels in the order given, each once; and other files of the folders given.
    :raises UsageError: something given matches no wheel.
    """
    found: dict[str, Path] = {}
    others: list[Path] = []
    for text in given:
        path = absolute(text, cwd)
        if path.is_dir():
            wheels = sorted(path.glob("*.whl"))
            others += sorted(one for one in path.iterdir() if one.is_file() and one.suffix != ".whl")
            if not wheels:
                raise UsageError(
                    f"--wheel {text}: the folder {path} has no wheels{_holds(path)}",
                    fix="build them first, or name the folder that they are in",
                )
        elif path.is_file():
            wheels = [path]
        else:
            below = _existing(path)
            pattern = os.path.join(glob.escape(str(below)), path.relative_to(below))  # noqa: PTH118
            wheels = sorted(Path(one) for one in glob.glob(pattern, recursive=True) if Path(one).is_file())  # noqa: PTH207
            if not wheels:
                raise _nothing(text, path)
        for wheel in wheels:
            if wheel.suffix != ".whl":
                raise UsageError(
                    f"--wheel {text}: {wheel} is not a .whl file",
                    fix="only built wheels are tested; an sdist or a folder of sources has to be built first",
                )
            found.setdefault(os.path.realpath(wheel), wheel)
    return list(found.values()), others


def _existing(path: Path) -> Path:
    """Return the nearest folder above *path* that exists: what looks like a glob up to there is a name."""
    return next(folder for folder in path.parents if folder.is_dir())


def _nothing(text: str, path: Path) -> UsageError:
    folder, below = path.parent, _existing(path)
    while glob.has_magic(str(folder.relative_to(below))):
        folder = folder.parent
    if glob.has_magic(text):
        what = f"--wheel {text}: nothing matches in {folder}{_holds(folder)}"
    else:
        what = f"--wheel {text}: there is no such file; looked in {folder}{_holds(folder)}"
    return UsageError(
        what, fix="build the wheels first, or correct the path (relative paths start at the current folder)"
    )


def _holds(folder: Path) -> str:
    if not folder.is_dir():
        return ", which does not exist"
    names = sorted(one.name for one in folder.iterdir())
    if not names:
        return ", which is empty"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f", which holds {', '.join(names[:5])}{more}"


def shown_path(path: Path, root: Path) -> str:
    """Return a path for node ids: relative to the root folder, with ``/``."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def open_release(given: tuple[str, ...], *, cwd: Path, root: Path, store: Path) -> Release:
    """Open every wheel once.

    :param store: folder for our copies.
    :raises UsageError: something given matches no wheel.
    """
    paths, others = find_files(given, cwd)
    files: list[Wheel | BadWheel] = []
    for number, path in enumerate(paths):
        shown = shown_path(path, root)
        place = store / str(number)
        try:
            files.append(open_wheel(path, shown=shown, store=place))
        except WheelError as error:
            step = StepResult(name="open", outcome=Outcome.FAILED, text=str(error))
            copy = next(place.glob("*/*"), path)
            files.append(BadWheel(shown=shown, path=path, copy=copy, step=step))
    return Release(files=tuple(files), others=tuple(others))


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the static checks said of one file.

    :param steps: one for each check.
    :param stopped_by: names of failed checks that forbid to install it.
    """

    steps: tuple[StepResult, ...]
    stopped_by: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Write it as text."""
        steps = [step.to_json() for step in self.steps]
        return json.dumps({"steps": steps, "stopped_by": self.stopped_by})

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """Read what :meth:`to_json` wrote."""
        data = json.loads(text)
        return cls(steps=tuple(map(StepResult.from_json, data["steps"])), stopped_by=tuple(data["stopped_by"]))


def judge(
    file: Wheel | BadWheel,
    release: Release,
    *,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    max_size: int = MAX_SIZE,
) -> Verdict:
    """Run the static checks on one file.

    :param select: codes or prefixes; empty for all.
    :param max_size: bytes that a wheel may have without a warning.
    :raises UsageError: a code or prefix fits no check.
    """
    if isinstance(file, BadWheel):
        try:
            results = run_container_checks(file.copy, select=select, ignore=ignore)
        except OSError:
            results = []  # the step says why it cannot be opened
        return Verdict(steps=(file.step, *map(_step_result, results)))
    results = run_checks(file, select=select, ignore=ignore, release=release.wheels, max_size=max_size)
    return Verdict(
        steps=tuple(map(_step_result, results)),
        stopped_by=tuple(result.check.name for result in results if result.stops_install),
    )


def _step_result(result: CheckResult) -> StepResult:
    check = result.check
    errors = [finding.message for finding in result.findings if finding.severity is Severity.ERROR]
    lines = [result.broken] if result.broken else []
    lines += [f"{check.code}: {message}" for message in errors]
    if lines:
        lines += [f"Why it matters: {check.reason}", f"Fix: {check.fix}"]
    return StepResult(
        name=check.name,
        outcome=result.outcome,
        text="\n".join(lines) or result.skipped,
        warnings=tuple(
            f"{check.code}: {finding.message} (fix: {check.fix})"
            for finding in result.findings
            if finding.severity is Severity.WARNING
        ),
    )
