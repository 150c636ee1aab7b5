"""Fixtures: the facts of this machine, and programs that run in an interpreter of their own."""

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

#: Seconds for a program to start and end. Starting Python takes seconds on an emulated machine.
PATIENCE = 120
#: A panic needs no backtrace here, and looking up its symbols crashes where an emulator makes big pages of small ones.
QUIET = {"RUST_BACKTRACE": "0"}


@pytest.fixture(scope="session", autouse=True)
def _quiet():
    """Rust looks at the environment when it panics first, and never again."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def facts():
    """What the machine says of itself."""
    return wheelcheck_witness.facts()


@pytest.fixture
def start(tmp_path):
    """Start Python code in a process of its own; whatever still runs at the end of the test is killed.

    The working directory is a temporary one, since that is where a crash leaves its core.
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
        process.wait(PATIENCE)
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


class Listener:
    """Reads a process's lines as they come, so that silence can be noticed."""

    def __init__(self, process):
        self.process = process
        self._lines = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in iter(self.process.stdout.readline, b""):
            self._lines.put(line.strip())

    def wait_for(self, line):
        deadline = time.monotonic() + PATIENCE
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
        self._thread.join(PATIENCE)


@pytest.fixture
def listen(start):
    """Start Python code in a process of its own, and listen to it while it runs."""
    listeners = []

    def listen(code):
        listeners.append(Listener(start(code, stderr=subprocess.DEVNULL)))
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.end()


@pytest.fixture
def run(start):
    """Run Python code to its end in a process of its own: exit status, output and errors as bytes."""

    def run(code, **environ):
        process = start(code, **environ)
        output, errors = process.communicate(timeout=PATIENCE)
        return process.returncode, output, errors

    return run


@pytest.fixture
def died():
    """Whether a process, as `run` returned it, was ended by the signal of that name."""

    def died(ended, name):
        status = ended[0]
        if sys.platform == "win32":
            # No signals there, and the status depends on the C library: an NTSTATUS, or 3.
            return status not in {0, 1, 2}
        number = getattr(signal, name)
        # A launcher that is a shell script may stand between us and the interpreter.
        return status in {-number, 128 + number}

    return died
