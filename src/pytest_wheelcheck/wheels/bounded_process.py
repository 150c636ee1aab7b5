"""The program that :mod:`~pytest_wheelcheck.wheels.bounded` runs: readers of native files.

``python -m pytest_wheelcheck.wheels.bounded_process files '' INPUT ANSWER``
``python -m pytest_wheelcheck.wheels.bounded_process exports '' INPUT ANSWER``
``python -m pytest_wheelcheck.wheels.bounded_process members WHEEL INPUT ANSWER``
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck.errors import WheelError, is_disk_full
from pytest_wheelcheck.wheels.binary import Binary, format_of
from pytest_wheelcheck.wheels.binary_reader import read_binary
from pytest_wheelcheck.wheels.bounded import NOT_INSTALLED, seconds_for
from pytest_wheelcheck.wheels.container import Container, Member
from pytest_wheelcheck.wheels.inspection import inspect

#: Bytes of memory that the parsers may use for any wheel, and for each unpacked byte of it in addition.
MEMORY, MEMORY_PER_BYTE = 2 << 30, 3
#: Maximum size of one native file in bytes.
MAX_BINARY = 4 << 30


def main(arguments: Sequence[str], run_task: Callable[[str, str, list[str]], list[Any]]) -> int:
    """Do one task, and write its answer. The arguments are described in the docstring of the module."""
    task, wheel, input_file, answer_file = arguments
    limit_time(seconds_for(wheel))
    try:
        answer = run_task(task, wheel, json.loads(Path(input_file).read_text("utf-8")))
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return NOT_INSTALLED
    partial = Path(answer_file).with_suffix(".part")
    partial.write_text(json.dumps(answer), "utf-8")
    partial.replace(answer_file)
    return 0


def limit_time(seconds: float) -> None:
    """Limit the processor time of this process, on systems that can."""
    if sys.platform != "win32":
        import resource  # Unix only

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, resource.RLIM_INFINITY))


def limit_memory(unpacked: int = 0) -> None:
    """Limit the address space of this process, on systems that can.

    :param unpacked: the unpacked size of the wheel in bytes.
    """
    if sys.platform != "win32":
        import resource  # Unix only

        limit = MEMORY + MEMORY_PER_BYTE * unpacked
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def open_container(wheel: str) -> Container:
    """Read the container of a wheel, and limit the memory of this process to what the wheel needs."""
    container = inspect(Path(wheel))
    limit_memory(sum(member.size for member in container.members))
    return container


def read_member(
    container: Container, member: Member, got: Callable[[bytes], None] = lambda _: None
) -> Iterable[Binary]:
    """Read all slices of a native file. An exception of a library becomes the error of that file.

    :param got: gets the content of a file that could be unpacked.
    """
    file_format = format_of(container.head(member, 8))
    if not file_format:
        return ()
    try:
        data = container.read(member, limit=MAX_BINARY)
        got(data)
        return read_binary(member.name, data)
    except WheelError as error:
        reason = error.message
    except ImportError:
        raise  # not a defect of the file
    except Exception as error:
        if is_disk_full(error):
            raise  # not a defect of the file, either
        reason = f"{type(error).__name__}: {error}"
    return (Binary(path=member.name, format=file_format, error=" ".join(reason.split())[:500] or "unreadable"),)


def run_task(task: str, wheel: str, arguments: list[str]) -> list[Any]:
    """Do one task and return its answer."""
    names = json.loads(arguments[0])
    if task == "exports":
        from pytest_wheelcheck.wheels.pe import exports_of_pe

        limit_memory()
        return sorted(exports_of_pe(Path(names[0]).read_bytes()))
    if task == "files":
        from pytest_wheelcheck.wheels.elf import read_header

        limit_memory()
        headers = ((name, read_header(Path(name))) for name in names)
        return [[name, dataclasses.asdict(header)] for name, header in headers if header is not None]
    container = open_container(wheel)
    members = [member for name in names if (member := container.find(name)) is not None]
    return [[member.name, list(map(dataclasses.asdict, read_member(container, member)))] for member in members]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], run_task))
