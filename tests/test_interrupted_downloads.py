"""Ctrl-C while interpreters are downloaded from a server that does not send them: the run ends at once, and says so."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import build_wheel
from ground import wait_for
from nodes import COMMAND

from pytest_wheelcheck.interpreters.base import here

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a signal of POSIX, and the builds that uv has for Linux"
)

#: Seconds that an interrupted run may take on a busy machine. Without the interruption it would wait for minutes.
BOUND = 8.0


class SilentServer(http.server.ThreadingHTTPServer):
    """Says that it has every file, and never sends one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SilentHandler)
        self.asked: list[str] = []
        self.ended = threading.Event()


class SilentHandler(http.server.BaseHTTPRequestHandler):
    server: SilentServer

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.ended.wait()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[SilentServer]:
    with SilentServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.ended.set()
        server.shutdown()


def run_command(words: str) -> list[str]:
    runner = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest"]
    return {
        "run": [*runner, "--wheel=dist", "--wheel-python=3.12,3.13", "--wheel-select=WHL101", "--wheel-providers=uv"],
        "command": [COMMAND, "runtime", "install", here().architecture, "3.12", "--providers=uv"],
    }[words]


@pytest.mark.parametrize(
    ("words", "number", "status", "said"),
    [
        ("run", 2, 2, "interrupted while the run was planned"),
        ("command", 1, 130, "wheelcheck: interrupted\n"),
    ],
)
def test_an_interrupted_download_ends_at_once(
    tmp_path: Path, server: SilentServer, words: str, number: int, status: int, said: str
) -> None:
    build_wheel(tmp_path / "dist", "demo", files={"demo.py": ""})
    env = {
        **os.environ,
        "WHEELCHECK_CACHE": str(tmp_path / "cache"),
        "UV_PYTHON_INSTALL_MIRROR": f"http://127.0.0.1:{server.server_port}",
        "UV_HTTP_TIMEOUT": "300",
    }
    env.pop("WHEELCHECK_OFFLINE", None)
    argv = run_command(words)
    with subprocess.Popen(argv, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            wait_for(lambda: len(server.asked) >= min(number, os.cpu_count() or 2) or process.poll() is not None)
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=2 * BOUND)
        finally:
            process.kill()
    text = output.decode()
    assert time.monotonic() - start < BOUND, text
    assert process.returncode == status, text
    assert said in text
    assert "Traceback" not in text
    # What was begun is not taken for complete, and does not stay.
    assert not list((tmp_path / "cache").rglob("*cpython-3*/python"))
