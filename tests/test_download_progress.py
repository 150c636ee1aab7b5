"""What is told about downloads: how large they are before, how far they are on a terminal, and where messages begin."""

from __future__ import annotations

import functools
import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import archives
import pytest

from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import progress


class SlowHandler(http.server.SimpleHTTPRequestHandler):
    """Sends packages in many parts."""

    def copyfile(self, source: Any, outputfile: BinaryIO) -> None:  # type: ignore[override]
        while part := source.read(1 << 19):
            outputfile.write(part)
            time.sleep(0.15)


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="the packages of this repository are for apt")
def test_packages_are_told_with_their_size_and_shown_while_they_arrive(tmp_path: Path) -> None:
    control = tmp_path / "big" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.write_text("Package: big\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n")
    (tmp_path / "big" / "data").write_bytes(os.urandom(4_000_000))
    subprocess.run(["dpkg-deb", "--build", "big", "big_1_amd64.deb"], cwd=tmp_path, check=True, capture_output=True)
    archives.make_archive(tmp_path, debs=[tmp_path / "big_1_amd64.deb"])
    handler = functools.partial(SlowHandler, directory=str(tmp_path / "archive"))
    lines: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{server.server_port}/"
        source = apt.parse_source(f"deb [signed-by={tmp_path / 'key.gpg'}] {where} suite main")
        told = io.StringIO()
        with progress.log_to(told), progress.lines_to(lines.append), progress.step("a thing", tmp_path / "into"):
            apt.fetch(source, "suite", ["big"], tmp_path / "into", architecture="amd64")
        server.shutdown()
    assert (tmp_path / "into" / "data").stat().st_size == 4_000_000
    first, second, last = told.getvalue().splitlines()
    assert first == "wheelcheck: a thing: fetching (once; cached for later runs)"
    assert second == "wheelcheck: a thing: downloading 1 package, 4.00 MB"
    assert last.startswith("wheelcheck: a thing: ready, 4 MB in ")
    assert any(line.startswith("downloading 1 package, 4.00 MB for a thing: [#") for line in lines), lines
    assert any(line.endswith(" of 4.0 MB") for line in lines)


def test_a_step_that_takes_long_is_shown_on_a_terminal(tmp_path: Path) -> None:
    lines: list[str] = []
    told = io.StringIO()
    (tmp_path / "file").write_bytes(bytes(3_000_000))
    thing = progress.step("a thing", tmp_path, size=1_500_000)
    with progress.log_to(told), progress.lines_to(lines.append), thing:
        time.sleep(4)
    assert told.getvalue().startswith("wheelcheck: a thing: fetching 1.50 MB (once; ")
    assert lines[0].startswith("a thing: fetching, 3 MB after ")


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_a_message_does_not_continue_a_line_that_is_replaced(tmp_path: Path) -> None:
    if sys.platform == "win32":
        return
    master, slave = os.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:  # noqa: PTH123  a descriptor

        def show(line: str) -> None:
            terminal.write(f"\r{line}")

        with progress.log_to(terminal), progress.lines_to(show), progress.sending("sending", 4_000_000) as report:
            time.sleep(0.3)
            report(2_000_000)
            progress.log.info("one")
            progress.log.info("two")
        terminal.flush()
        output = os.read(master, 4096).decode()
    os.close(master)
    assert output.splitlines()[-3:] == [
        "sending: [############............] 2.0 of 4.0 MB",
        "wheelcheck: one",
        "wheelcheck: two",
    ]
