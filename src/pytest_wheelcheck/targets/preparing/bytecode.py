"""Compile what is not the wheel's, so that an interpreter that writes no bytecode does not compile it in each run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process

#: Seconds that it may take. It saves seconds.
_DEADLINE = 300.0


def compile_bytecode(compiler: Path | None, directory: Path) -> None:
    """Compile all modules below a directory, with bytecode that is accepted without reading times (PEP 552).

    Nobody may change the sources afterwards. A module that cannot be compiled, or a compiler that fails, changes nothing:
    without bytecode everything works the same, but slower. uv can do this while it installs, but then ends with an error,
    or crashes, where only the compilation failed.

    :param compiler: see :meth:`pytest_wheelcheck.backends.base.Backend.bytecode_compiler`; ``None`` compiles nothing.
    :raises OSError: the disk is full.
    """
    if compiler is None:
        return
    options = ("-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")
    with contextlib.suppress(ProcessError):
        process.run([compiler, "-I", "-m", "compileall", *options, directory], check=False, timeout=_DEADLINE)
    # On a full disk, CPython before 3.13 writes a part of the bytecode and reports no error. This reports it.
    room = directory / "room"
    room.write_bytes(bytes(1 << 16))
    room.unlink()
