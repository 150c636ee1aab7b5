"""Runs of pytest on boards (:mod:`boards`), their outcomes by target, and what they leave on a board."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from boards import Board
from builders import build_wheel
from ground import Ground

_LINE = re.compile(
    r"^(?:\[\w+\] \[ *\d+%\] (?P<first>[A-Z]+) )?"
    r"(?P<wheel>\S+\.whl)::(?P<target>[^\s:]+(?::\d+)?)(?:::(?P<node>.+?))??(?: <- \S+)?"
    r"(?: (?P<last>PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b.*)?\s*$"
)

#: Seconds within which everything that a run started on a board has ended, when the board knows that the run is gone, and when
#: the network only became silent (20 seconds of silence, and 5 for programs to end).
SOON, AFTER_SILENCE = 15.0, 45.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a run has said.

    :param nodes: outcomes by target, and by the rest of the node id; a wheel without a target has the rest ``""``.
    """

    code: int
    text: str
    seconds: float
    nodes: Mapping[str, Mapping[str, str]] = field(repr=False)

    def on(self, name: str = "pi") -> dict[str, str]:
        """Return the outcomes on a board."""
        found: dict[str, str] = {}
        for target, nodes in self.nodes.items():
            if target.endswith(f"+{name}"):
                found |= nodes
        return found

    @property
    def native(self) -> dict[str, str]:
        """The outcomes on this host."""
        return {
            node: outcome
            for target, nodes in self.nodes.items()
            if "+" not in target and not target.startswith("WHL")
            for node, outcome in nodes.items()
        }

    def error(self, name: str = "pi") -> str:
        """Return the report of the only node of a board, which is an error by its name."""
        assert self.on(name) == {"": "ERROR"}
        return self.report(f"+{name}")

    def report(self, end: str) -> str:
        """Return the reports whose headings have these words."""
        parts = re.split(r"\n_+ (.+?) _+\n", self.text)
        return "\n".join(
            text.partition("\n====")[0]
            for heading, text in zip(parts[1::2], parts[2::2], strict=True)
            if end in heading
        )


def parse(code: int, text: str, seconds: float) -> Found:
    nodes: dict[str, dict[str, str]] = {}
    parts = re.split(r"^=+ (?:[a-z ]+|[A-Z]+) =+$", text, maxsplit=2, flags=re.MULTILINE)
    for line in "".join(parts[1:2]).splitlines():
        match = _LINE.match(line)
        outcome = match and (match["first"] or match["last"])
        if match and outcome:
            own = nodes.setdefault(match["target"], {})
            # A test that passed with a failed teardown has two lines.
            assert own.get(match["node"] or "", "PASSED") == "PASSED", line
            own[match["node"] or ""] = outcome
    return Found(code=code, text=text, seconds=seconds, nodes=nodes)


class BoardRun(Ground):
    """A project with a wheel and tests, whose wheel is tested on boards.

    Attributes: ``hosts``, the lines of the ini key ``wheel_hosts``; ``lines``, further lines of the ini file.
    """

    def __init__(self, path: Path) -> None:
        project = path / "project"
        wheel = build_wheel(project / "dist", "demo", files={"demo/__init__.py": ""})
        super().__init__(project, path / "temporary", wheel)
        self.hosts: dict[str, str] = {}
        self.boards: dict[str, Board] = {}
        self.lines: list[str] = []
        self.python = "3.11"

    def use(self, board: Board, name: str = "pi", options: str = "") -> None:
        """Use a board under a name."""
        self.boards[name] = board
        self.hosts[name] = f"{board.url} {options}"

    def words(self, *words: str) -> list[str]:
        hosts = [f"    {name} = {text}" for name, text in self.hosts.items()]
        self.ini(*self.lines, *(["wheel_hosts =", *hosts] if hosts else []))
        named = (
            [] if any(word.startswith("--wheel-host") for word in words) else [f"--wheel-host={','.join(self.hosts)}"]
        )
        found = super().words("-rfEs", *named, *words)
        if "cacheprovider" in words:
            found.remove("no:cacheprovider")
            found.remove("-p")
        return found

    def only(self, *tests: str, name: str = "pi", target: str = "cp311-linux-x86_64") -> list[str]:
        """Return the node ids of a target on a board, or of tests there."""
        wheel = self.wheel.relative_to(self.path).as_posix()
        return [f"{wheel}::{target}+{name}{test and '::'}{test}" for test in tests or ("",)]

    def go(self, *words: str, bound: float = 240.0, env: Mapping[str, str] = {}, kept: bool = False) -> Found:
        """Run to the end, and look that nothing is left, here and on the boards.

        :param kept: whether the run says that it keeps something here.
        """
        start = time.monotonic()
        with self.started(*words, env=env) as process:
            try:
                code = process.wait(bound)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                pytest.fail(f"not ended within {bound:g} s:\n{self.said()}")
        found = parse(code, self.said(), time.monotonic() - start)
        print(found.text)
        print(f"{found.seconds:.1f} seconds")
        assert "INTERNALERROR>" not in found.text
        self.nothing_left(files=not kept)
        for board in self.boards.values():
            nothing_is_left(board)
        return found

    @contextlib.contextmanager
    def in_a_test(self, board: Board, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A run in the middle of ``test_waits`` of :data:`WAITS`."""
        with self.started(*words) as process:
            mark = board.home / "started"
            end = time.monotonic() + 120
            while not mark.exists():
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the test does not begin:\n{self.said()}")
                time.sleep(0.02)
            yield process

    def end(self, process: subprocess.Popen[bytes], bound: float) -> Found:
        """Wait for the end of a run."""
        start = time.monotonic()
        try:
            code = process.wait(bound)
        except subprocess.TimeoutExpired:
            pytest.fail(f"not ended within {bound:g} s:\n{self.said()}")
        print(self.said())
        print(f"{time.monotonic() - start:.1f} seconds")
        return parse(code, self.said(), time.monotonic() - start)


#: A test that says on the board that it runs, and then waits.
WAITS = """
import os, pathlib, subprocess, time
import demo

def test_first():
    pass

def test_waits():
    if "pytest-wheelcheck-board" in demo.__file__ or os.environ.get("HOME") == "/home/pi":
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        mark = pathlib.Path(os.path.expanduser("~/started"))
        if not mark.exists():
            mark.write_text("")
            time.sleep(600)

def test_last():
    pass
"""


def nothing_is_left(board: Board, seconds: float = SOON) -> None:
    """Look that the board is idle soon, and that it keeps nothing but the store."""
    if not board.machine.init:
        return
    board.wait_until_idle(seconds)
    cache = board.home / ".cache/pytest-wheelcheck-board"
    runs = cache / "v1/runs"
    assert not runs.is_dir() or not list(runs.iterdir()), list(runs.iterdir())
    assert files_of_home(board) <= {"store"}
    assert files_elsewhere(board) <= {"store"}


def files_of_home(board: Board) -> set[str]:
    """Return what is in a board's home: ``store`` for the store, else relative paths of files."""
    found = set()
    for path in board.home.rglob("*"):
        name = path.relative_to(board.home).as_posix()
        if not path.is_dir() and name != "started":
            found.add("store" if name.startswith(".cache/pytest-wheelcheck-board/v1/store/") else name)
    return found


def files_elsewhere(board: Board) -> set[str]:
    """Return what is outside of a board's home where its user can write: ``store``, else absolute paths, also of directories."""
    found = set()
    for place in ("tmp", "var/tmp", "dev/shm"):
        for path in (board.root / place).rglob("*"):
            name = f"/{path.relative_to(board.root).as_posix()}"
            # A run may name another directory for its files.
            if match := re.fullmatch(r"/var/tmp/boards(/v1(/store|/runs)?)?(/store/.*)?", name):
                found |= {"store"} if match[3] else set()
            else:
                found.add(name)
    return found


def wait_for(condition: Callable[[], object], seconds: float, what: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)
