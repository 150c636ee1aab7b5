"""Start the executables that a wheel installs."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment
from pytest_wheelcheck.declarations import DEFAULT_EXECUTABLES
from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.model import Outcome, Platform
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.system import process
from pytest_wheelcheck.targets.preparing.executable_errors import explain_missing_module
from pytest_wheelcheck.targets.preparing.import_check import diagnosed
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget

#: Suffixes of the files that Windows starts.
_WINDOWS_PROGRAMS = (".exe", ".com", ".bat", ".cmd")

#: Bytes of each output stream of an executable in a report, and characters of the line that summarizes a success.
_MAX_OUTPUT, _MAX_SUMMARY = 20_000, 500


#: What programs print about arguments that they do not know.
_USAGE = re.compile(
    r"\busage\b|(unknown|unrecognized|invalid|unexpected|illegal) (option|argument|command|switch|flag)", re.IGNORECASE
)

#: From this exit status on, a shell reports what happened to a program.
_SHELL_STATUS = 126


def run_executables(installed: InstalledTarget) -> Iterator[StepResult]:
    """Start each executable in the wheel's ``.data/scripts``, and those that the settings name."""
    target, settings = installed.target, installed.settings
    carried = set(target.wheel.scripts)
    named = {
        name
        for name, _ in target.wheel.console_scripts
        for pattern, _ in settings.executables
        if pattern != "*" and fnmatch.fnmatchcase(name, pattern)
    }
    for name in sorted(carried | named):
        # The wheels of other systems have the same executable without a suffix.
        names = (name, _without_suffix(name)) if target.runtime.platform.is_windows else (name,)
        entry = next(
            (found for found in settings.executables if any(fnmatch.fnmatchcase(each, found[0]) for each in names)),
            None,
        )
        if entry is None or (arguments := entry[1]) is None:
            continue
        if not installed.session.capabilities.subprocess:
            text = "programs cannot be started on this target"
            yield StepResult(name=f"run[{name}]", outcome=Outcome.SKIPPED, text=text)
        else:
            yield _run(installed, name, arguments, named=entry != DEFAULT_EXECUTABLES)


def _run(installed: InstalledTarget, name: str, arguments: Sequence[str], *, named: bool) -> StepResult:
    """Start one executable.

    :param named: the user named the arguments.
    """
    target, environment, session = installed.target, installed.environment, installed.session
    path = next(
        (found for suffix in ("", ".exe") if (found := environment.scripts / f"{name}{suffix}").exists()),
        environment.scripts / name,
    )
    shown = " ".join((name, *arguments))
    argv = _argv(path, environment, target.runtime.platform)
    if not argv:
        return StepResult(
            name=f"run[{name}]",
            outcome=Outcome.SKIPPED,
            text="Windows starts no such file: it has no suffix such as .exe, and is not a Python script",
        )
    start = time.monotonic()
    command = session.command(
        [*argv, *arguments],
        environment=environment,
        cwd=installed.empty_directory,
        variables={},
        supervised=False,
    )
    try:
        completed = process.run(
            command.argv,
            env=command.env,
            cwd=command.cwd,
            timeout=installed.settings.entry_timeout * installed.scale or 1e6,
            max_output=_MAX_OUTPUT,
            # Programs of an emulated system share servers that outlive them.
            end_leftovers=not target.runtime.platform.is_windows,
            check=False,
        )
    except ProcessError as error:
        return StepResult(
            name=f"run[{name}]",
            outcome=Outcome.FAILED,
            seconds=time.monotonic() - start,
            text=f"`{shown}` did not start\n{error}",
        )
    sections = tuple(
        (f"Captured {title}", text)
        for title, text in (("stdout", completed.stdout), ("stderr", session.program_output(completed.stderr)))
        if text.strip()
    )
    refused = not named and _refuses_arguments(completed)
    failed = completed.returncode != 0 and not refused
    fix = (
        f"Fix: if the program does not know these arguments, name others, such as "
        f"{list_line('executables', f'{name}: --help')}, or `{name}: off` there"
    )
    ended = f"`{shown}` ended with {process.describe_status(completed.returncode)}"
    missing, is_no_fault = explain_missing_module(name, completed.stderr, installed) if failed else ((), False)
    explained = "\n".join([ended, *(missing or [fix])])
    warnings = []
    if refused:
        warnings.append(f"{ended} and a message about its usage: it starts, and no more is known\n{fix}")
    if completed.left_running:
        left = "; ".join(completed.left_running[:5])
        warnings.append(f"`{shown}` left processes running, which were ended: {left}")
    step = StepResult(
        name=f"run[{name}]",
        outcome=Outcome.SKIPPED if is_no_fault else Outcome.FAILED if failed else Outcome.PASSED,
        seconds=completed.seconds,
        text=explained if failed else (completed.stdout.strip().splitlines() or [""])[0][:_MAX_SUMMARY],
        sections=sections,
        warnings=tuple(warnings),
    )
    return diagnosed(step, completed.stderr, installed)


def _refuses_arguments(completed: process.CompletedProcess) -> bool:
    """Return whether a program ended by itself with a message about its usage."""
    output = f"{completed.stdout}\n{completed.stderr}"
    return 0 < completed.returncode < _SHELL_STATUS and bool(_USAGE.search(output)) and "Traceback (most" not in output


def _without_suffix(name: str) -> str:
    """Return the name by which Windows finds an executable: ``tool`` for ``tool.exe``."""
    return next((name[: -len(suffix)] for suffix in _WINDOWS_PROGRAMS if name.lower().endswith(suffix)), name)


def _argv(path: Path, environment: Environment, platform: Platform) -> list[Path]:
    """Return how an executable is started; empty if it is for another system.

    Windows does not read ``#!``: users have the interpreter start a file that is not a program.
    """
    # A launcher may be next to each program.
    is_program = path.suffix.lower() in _WINDOWS_PROGRAMS or path.with_name(f"{path.name}.exe").is_file()
    if not platform.is_windows or is_program or not path.is_file():
        return [path]
    with path.open("rb") as file:
        # If the interpreter's path is too long for the first line, installers have a shell read it from the second.
        first = b"".join(file.read(1000).splitlines()[:2])
    return [environment.python, path] if first.startswith(b"#!") and b"python" in first.lower() else []
