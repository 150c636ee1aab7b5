"""Fixtures: the facts of this machine, and programs that run in a new interpreter."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest
import wheelcheck_witness

#: Timeout in seconds for a program to start and end. Starting Python takes seconds on an emulated machine.
TIMEOUT = 120
#: A panic needs no backtrace here, and its symbol lookup crashes if an emulator builds large pages from small ones.
NO_BACKTRACE = {"RUST_BACKTRACE": "0"}


@pytest.fixture(scope="session", autouse=True)
def _no_backtrace():
    """Rust reads the environment at the first panic only."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in NO_BACKTRACE.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def facts():
    """Facts of this machine."""
    return wheelcheck_witness.facts()


@pytest.fixture
def start(tmp_path):
    """Start Python code in a new process, which is killed at the end of the test if it still runs.

    The working directory is a temporary one, because a crash may write its core file there.
    """
    started = []

    def start(code, *, stderr=subprocess.PIPE, **environ):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(TIMEOUT)
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


class Listener:
    """Reads the output of a process line by line, so that silence is noticed."""

    def __init__(self, process):
        self.process = process
        self._lines = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in iter(self.process.stdout.readline, b""):
            self._lines.put(line.strip())

    def wait_for(self, line):
        deadline = time.monotonic() + TIMEOUT
        while self._lines.get(timeout=max(0, deadline - time.monotonic())) != line:
            pass

    def is_silent(self, seconds):
        try:
            self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def end(self):
        self.process.kill()
        self._thread.join(TIMEOUT)


@pytest.fixture
def listen(start):
    """Start Python code in a new process, and read its output while it runs."""
    listeners = []

    def listen(code):
        listeners.append(Listener(start(code, stderr=subprocess.DEVNULL)))
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.end()


@pytest.fixture
def run(start):
    """Run Python code in a new process until it ends: exit status, output and errors as bytes."""

    def run(code, **environ):
        process = start(code, **environ)
        output, errors = process.communicate(timeout=TIMEOUT)
        return process.returncode, output, errors

    return run


@pytest.fixture
def died():
    """Whether a process, as `run` returned it, was ended by the signal with that name."""

    def died(ended, name):
        status = ended[0]
        if sys.platform == "win32":
            # Windows has no signals, and the status depends on the C library: an NTSTATUS, or 3.
            return status not in {0, 1, 2}
        number = getattr(signal, name)
        # A launcher that is a shell script may be between this process and the interpreter.
        return status in {-number, 128 + number}

    return died
