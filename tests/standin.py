"""A stand-in for the witness where none was compiled: the same misdeeds, by ctypes, on any architecture."""

from __future__ import annotations

from pathlib import Path

from builders import build_wheel

#: The kinds that the stand-in has; a Rust panic needs Rust.
KINDS = (
    "segfault",
    "abort",
    "illegal",
    "bus",
    "fpe",
    "stack",
    "hang",
    "hang-detached",
    "exit0",
    "exit5",
    "kill",
    "memory",
    "print",
    "close-fds",
    "atexit-hang",
    "atexit-abort",
)

_TEXT = """
import ctypes, mmap, os, platform, sys, tempfile, time

_libc, _holding = ctypes.CDLL(None), ctypes.PyDLL(None)
_function = ctypes.CFUNCTYPE(None)

def _illegal():
    code = {"aarch64": bytes(4), "x86_64": bytes((0x0F, 0x0B))}[platform.machine()]
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    _function(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()

def _bus():
    with tempfile.TemporaryFile() as file:
        file.truncate(4096)
        memory = mmap.mmap(file.fileno(), 4096)
        file.truncate(0)
        memory[0]

def _stack():
    sys.setrecursionlimit(1 << 30)
    calls = _function(lambda: calls())
    calls()

def _hang():
    while True:
        _holding.sleep(3600)

def _atexit(name):
    _libc.__cxa_atexit(ctypes.cast(getattr(_libc, name), ctypes.c_void_p), None, None)

def _print():
    os.write(1, b"the witness prints on 1 \\xff\\0\\n")
    os.write(2, b"the witness prints on 2 \\xff\\0\\n")

_KINDS = {
    "segfault": lambda: _libc.memset(None, 1, 1),
    "abort": lambda: _libc.abort(),
    "illegal": _illegal,
    "bus": _bus,
    "fpe": lambda: getattr(_libc, "raise")(8),
    "stack": _stack,
    "hang": _hang,
    "hang-detached": lambda: time.sleep(3600),
    "exit0": lambda: _libc._exit(0),
    "exit5": lambda: _libc._exit(5),
    "kill": lambda: _libc.kill(os.getpid(), 9),
    "memory": lambda: bytearray(1 << 50),
    "print": _print,
    "close-fds": lambda: os.closerange(0, 3),
    "atexit-hang": lambda: _atexit("pause"),
    "atexit-abort": lambda: _atexit("abort"),
}

def misbehave(kind):
    _KINDS[kind]()
"""


def build(folder: Path, tag: str) -> Path:
    """Build its wheel, which takes the witness's name."""
    files = {"wheelcheck_witness/__init__.py": _TEXT}
    return build_wheel(folder, "wheelcheck-witness", files=files, tags=[f"py3-none-{tag}"])
