"""Runs readers of native files in a process that may die.

A malformed file can make pyelftools, macholib, pefile and auditwheel raise, loop or use all memory. So they run in a program
of their own, with a deadline, a memory limit and an empty working directory. It writes its answer to a JSON file at the
very end. If anything goes wrong before that, there is no file, which is an error and never an answer.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import DISK_FULL, ProcessError, is_disk_full
from pytest_wheelcheck.system import process
from pytest_wheelcheck.wheels.binary import Binary, ElfHeader
from pytest_wheelcheck.wheels.bounded_tasks import Task

#: Seconds of processor time that a parser may take for any wheel, and for each MiB of it in addition.
DEADLINE, DEADLINE_PER_MIB = 60.0, 3.0
#: Factor for the time that passes: on a busy host a parser waits, which is no fault of the wheel. Windows does not limit
#: processor time.
PATIENCE = 1 if sys.platform == "win32" else 10
#: Status of a process that used more processor time than it may (SIGXCPU on Linux and macOS).
_TOO_LONG = -24
#: Exit status of the parser process if a library that it needs is not installed.
NOT_INSTALLED = 3
#: What a parser prints that could not write its files: the message of Python's exception, with the number of the error.
_FULL = re.compile(rf"^OSError: \[Errno ({errno.ENOSPC}|{errno.EDQUOT})\]|^{os.strerror(errno.ENOSPC)}$", re.MULTILINE)
#: Bytes below which a disk is full.
_LEAST = 1 << 16
_PROCESS = f"{__package__}.bounded_process"


def read_headers(paths: Iterable[str | Path]) -> dict[str, ElfHeader]:
    """Read ELF files on disk in a parser process. Files of other formats, and malformed ones, are left out.

    :returns: the headers by path.
    :raises ProcessError: the parser died or exceeded its deadline.
    """
    texts = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - links are kept as they are
    if not texts:
        return {}
    answer = run_parser(_PROCESS, "files", "", json.dumps(texts), subject="the installed native files")
    return {path: ElfHeader(**{**item, "needed": tuple(item["needed"])}) for path, item in answer}


def read_members(wheel: Path, names: Iterable[str]) -> dict[str, tuple[Binary, ...]]:
    """Read some native files of a wheel in a parser process.

    :param names: the names of the members.
    :returns: the slices of each file.
    :raises ProcessError: the parser died or exceeded its deadline.
    """
    answer = run_parser(_PROCESS, "members", os.path.abspath(wheel), json.dumps(list(names)), subject=wheel.name)  # noqa: PTH100
    return {name: tuple(map(binary_of, slices)) for name, slices in answer}


def read_exports(library: Path) -> frozenset[str]:
    """Return the names that a DLL on disk exports, read in a parser process.

    :raises ProcessError: it is malformed.
    """
    return frozenset(run_parser(_PROCESS, "exports", "", json.dumps([os.path.abspath(library)]), subject=library.name))  # noqa: PTH100


def binary_of(item: Mapping[str, Any]) -> Binary:
    """Return a :class:`Binary` from its JSON form."""
    return Binary(**{key: to_tuple(value) for key, value in item.items()})


def to_tuple(value: Any) -> Any:
    """Replace lists, which JSON has instead of tuples."""
    return tuple(map(to_tuple, value)) if isinstance(value, list) else value


def run_parser(module: str, task: str, wheel: str, *arguments: str, subject: str) -> list[Any]:
    """Run a parser process and return its answer.

    :param module: the program. Its arguments are the task, the wheel, a file for the input, and a file for the answer.
    :param wheel: path of the wheel, or an empty string.
    :param arguments: the input.
    :param subject: name of the wheel or the files, for messages.
    :raises ProcessError: it died or exceeded its deadline, or a library that it needs is not installed.
    """
    limit = seconds_for(wheel)
    try:
        ended = _run(module, task, wheel, arguments, limit)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise _no_space(subject, str(error)) from error
    if isinstance(ended, list):
        return ended
    status, output = ended
    if _FULL.search(output):
        raise _no_space(subject, _without_traceback(output))
    raise ProcessError(
        f"{subject} could not be checked: the parser process ended with {process.describe_status(status)}",
        cause={
            NOT_INSTALLED: "a library that the check needs is not installed on this system",
            _TOO_LONG: f"a file in the wheel keeps the parser library busy for more than {limit:g} s",
        }.get(status, "a file in the wheel is malformed in a way that the parser library does not survive"),
        details=_without_traceback(output),
    )


def _run(module: str, task: str, wheel: str, arguments: Sequence[str], limit: float) -> list[Any] | tuple[int, str]:
    """Run a parser process; return its answer, or the exit status and the output of one that gave none.

    :raises OSError: its files cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as directory:
        input_file, answer_file = Path(directory, "input.json"), Path(directory, "answer.json")
        input_file.write_text(json.dumps(arguments), "utf-8")
        work = Path(directory, "work")
        work.mkdir()
        status, output = Task(
            module=module,
            arguments=(task, wheel, os.fspath(input_file), os.fspath(answer_file)),
            work=work,
            environment=_environment(),
            timeout=PATIENCE * limit,
        ).run()
        if status == 0 and answer_file.is_file():
            answer: list[Any] = json.loads(answer_file.read_text("utf-8"))
            return answer
        if not output.strip() and shutil.disk_usage(directory).free < _LEAST:
            # The output of a task is a file there, too.
            output = os.strerror(errno.ENOSPC)
    return status, output


def _no_space(subject: str, details: str) -> ProcessError:
    cause, fix = DISK_FULL
    where = tempfile.gettempdir()
    return ProcessError(
        f"{subject} could not be checked: no space left in the directory for temporary files, {where}",
        cause=cause,
        fix=fix,
        details=details,
    )


def seconds_for(wheel: str) -> float:
    """Return the seconds of processor time that a parser may take.

    :param wheel: path of the wheel, or an empty string.
    """
    return DEADLINE + DEADLINE_PER_MIB * (Path(wheel).stat().st_size >> 20 if wheel else 0)


def _without_traceback(output: str) -> str:
    """Return the output of a parser that raised from its exception on: the frames are those of another project."""
    lines = output.rstrip().splitlines()
    if "Traceback (most recent call last):" not in lines:
        return output
    frames = [number for number, line in enumerate(lines) if line.startswith(" ")]
    return "\n".join(lines[frames[-1] + 1 :]) if frames else output


def _environment() -> dict[str, str]:
    """Give the parser process our import path, but never the working directory of the run."""
    environment = dict(os.environ)
    for name in ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    import_path = [os.path.abspath(entry) for entry in sys.path if entry]  # noqa: PTH100 - zip files are kept as they are
    environment |= {"PYTHONPATH": os.pathsep.join(import_path), "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}
    return environment
