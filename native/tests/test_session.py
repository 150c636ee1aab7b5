"""A program on a pseudo-terminal that Rust opens, on Windows a pseudo console, in separate calls.

No name here shows that, and no test is marked: where a target has neither, it must be noticed.
"""

from __future__ import annotations

import sys
import time

import pytest
import wheelcheck_witness


def read_until(session, text, timeout=30.0):
    """Return what the program wrote, up to and with *text*."""
    end = time.monotonic() + timeout
    output = ""
    while text not in output and time.monotonic() < end:
        output += session.read(timeout)
    assert text in output
    return output


def test_reads_what_the_program_writes():
    session = wheelcheck_witness.Session()
    session.spawn([sys.executable, "-c", "print(6 * 7)"])
    read_until(session, "42")


def test_writes_to_the_program():
    session = wheelcheck_witness.Session()
    session.spawn([sys.executable, "-c", "print(len(input()) * 111)"])
    session.write("x" * 7 + "\r")
    read_until(session, "777")


def test_the_program_has_the_size():
    session = wheelcheck_witness.Session()
    session.spawn([sys.executable, "-c", "import os; print(tuple(os.get_terminal_size()))"], rows=33, cols=99)
    read_until(session, "(99, 33)")


def test_cannot_be_used_before_it_is_started():
    session = wheelcheck_witness.Session()
    for call in (session.read, lambda: session.write("x")):
        with pytest.raises(RuntimeError, match="the session has not been started"):
            call()
