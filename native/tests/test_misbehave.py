"""Every kind of misbehavior has its documented effect, and no other."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
import wheelcheck_witness

IMPORT = "import wheelcheck_witness"
WINDOWS = sys.platform == "win32"
WINE = WINDOWS and hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")

SIGNALS = {
    "segfault": "SIGSEGV",
    "abort": "SIGABRT",
    "illegal": "SIGILL",
    "bus": "SIGBUS",
    "fpe": "SIGFPE",
    "stack": "SIGSEGV",
    "kill": "SIGKILL",
    "atexit-abort": "SIGABRT",
}
STATUSES = {"exit0": 0, "exit5": 5}
EXCEPTIONS = {"panic": b"PanicException: the witness was asked to panic", "memory": b"MemoryError: "}
HANGS = ["hang", "hang-detached", "atexit-hang"]
HARMLESS = ["print", "close-fds"]


def misbehave(kind, *, then=""):
    """Code that prints a line, misbehaves, and continues if it can."""
    return f"{IMPORT} as w, os; os.write(1, b'ready\\n'); w.misbehave({kind!r}); {then}"


def known(*kinds):
    """Parametrize with those kinds that this platform has."""
    return pytest.mark.parametrize("kind", [kind for kind in kinds if kind in wheelcheck_witness.KINDS])


def test_every_kind_is_tested():
    kinds = {*SIGNALS, *STATUSES, *EXCEPTIONS, *HANGS, *HARMLESS}
    assert set(wheelcheck_witness.KINDS) == kinds - ({"bus", "kill"} if WINDOWS else set())


def test_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match='unknown kind "sulk"; known here: ') as caught:
        wheelcheck_witness.misbehave("sulk")
    assert str(caught.value).endswith(", ".join(wheelcheck_witness.KINDS))


def test_panic_is_an_exception():
    with pytest.raises(BaseException, match="asked to panic") as caught:
        wheelcheck_witness.misbehave("panic")
    assert type(caught.value).__name__ == "PanicException"
    assert not isinstance(caught.value, Exception)


def test_memory_is_an_exception():
    with pytest.raises(MemoryError):
        wheelcheck_witness.misbehave("memory")


def test_available_memory_is_allocated():
    assert wheelcheck_witness.misbehave("memory", 1 << 20) is None


@pytest.mark.crash
@known(*SIGNALS)
def test_crash(run, died, kind):
    ended = run(misbehave(kind))
    assert ended[1].split() == [b"ready"]
    # QEMU 7.2 maps nothing beyond the end of a file if it builds large pages from small ones.
    bus = kind == "bus" and died(ended, "SIGSEGV")
    # Wine (ntdll, virtual_setup_exception) ends a process whose stack overflows with status 1.
    stack = kind == "stack" and WINE and ended[0] == 1
    assert died(ended, SIGNALS[kind]) or bus or stack


@pytest.mark.crash
@known(*STATUSES)
def test_exit(run, kind):
    status, output, _ = run(misbehave(kind, then="print('never')"))
    assert (status, output.split()) == (STATUSES[kind], [b"ready"])


def test_print_bypasses_pythons_streams(run):
    status, output, errors = run(misbehave("print"))
    assert status == 0
    assert b"the witness prints on 1 \xff\0" in output
    assert b"the witness prints on 2 \xff\0" in errors


@pytest.mark.skipif(WINDOWS, reason="each C library has its own descriptors")
def test_close_fds_closes_the_first_three(run):
    check = """
import errno, os
closed = 0
for fd in range(3):
    try:
        os.fstat(fd)
    except OSError as error:
        closed += error.errno == errno.EBADF
os._exit(40 + closed)
"""
    status, output, _ = run(misbehave("close-fds", then=check))
    assert (status, output) == (43, b"ready\n")


#: A Python thread that writes a line ten times a second while it can run. It writes complete lines: `print` writes the
#: end of a line separately, and another thread's line may come between.
WRITER = """
import os, threading, time
def write():
    while True:
        os.write(1, b"alive\\n")
        time.sleep(0.1)
threading.Thread(target=write, daemon=True).start()
"""


@pytest.mark.hang
@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="no GIL to hold")
def test_hang_keeps_every_other_thread_from_running(listen):
    listener = listen(WRITER + misbehave("hang"))
    listener.wait_for(b"ready")
    # A line or two may still be in the pipe.
    assert any(listener.is_silent(0.4) for _ in range(20))
    assert listener.process.poll() is None


@pytest.mark.hang
def test_hang_detached_lets_other_threads_run(listen):
    listener = listen(WRITER + misbehave("hang-detached"))
    listener.wait_for(b"ready")
    for _ in range(3):
        listener.wait_for(b"alive")
    assert listener.process.poll() is None


@pytest.mark.hang
def test_atexit_hang_keeps_the_process_from_ending(listen):
    listener = listen(misbehave("atexit-hang", then="os.write(1, b'done\\n')"))
    listener.wait_for(b"done")
    with pytest.raises(subprocess.TimeoutExpired):
        listener.process.wait(0.4)


@pytest.mark.crash
@known("segfault", "exit0", "panic", "memory")
def test_import_misbehaves_when_the_environment_says_so(run, died, kind):
    status, output, errors = ended = run(f"{IMPORT}; print('never')", WHEELCHECK_WITNESS_IMPORT=kind)
    assert output == b""
    if kind in SIGNALS:
        assert died(ended, SIGNALS[kind])
    elif kind in STATUSES:
        assert status == STATUSES[kind]
    else:
        assert status == 1
        assert EXCEPTIONS[kind] in errors


def test_import_refuses_an_unknown_kind(run):
    status, _, errors = run(IMPORT, WHEELCHECK_WITNESS_IMPORT="sulk")
    assert status == 1
    assert b"ValueError: unknown kind" in errors


def test_import_is_well_behaved_with_an_empty_environment_variable(run):
    status, output, _ = run(IMPORT, WHEELCHECK_WITNESS_IMPORT="")
    assert (status, output) == (0, b"")
