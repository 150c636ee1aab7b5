"""The ground on which faults are let loose: a project, a folder for temporary files, and a look at what is left."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import standin
from nodes import RunOutput, parse_output

#: Seconds for everything that must end soon. Without the code under test it would take minutes; how soon it ends depends on
#: how busy this machine is.
BOUND = 30.0

#: In the environment of every process of a run; a child that lives on is found by it.
MARKER = "WHEELCHECK_FAULTS"


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Ground:
    """A folder with a wheel and tests, and runs on them that are watched.

    :param temp: the folder for temporary files of all runs here; empty after each.

    Attributes: ``prefix``, words before the command line; ``program``, the words that start pytest; ``python``, the
    interpreters under the wheel; ``emulated``; ``kinds``, what the witness can be asked to do.
    """

    def __init__(self, path: Path, temp: Path, wheel: Path) -> None:
        self.path = path
        self.temp = temp
        self.wheel = wheel
        self._mark = secrets.token_hex(8)
        temp.mkdir()
        self.prefix: list[str] = []
        self.program: list[str] = ["-m", "pytest"]
        self.python = sys.executable
        self.emulated = False
        self.kinds: tuple[str, ...] = (*standin.KINDS, "panic")
        names = ("TEMP", "TMP") if os.name == "nt" else ("TMPDIR",)
        self.env = {**os.environ, **dict.fromkeys(names, str(temp)), MARKER: self._mark}

    def write(self, **files: str) -> None:
        """Write test files, by their names without the ending."""
        for name, text in files.items():
            path = self.path / "tests" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")

    def ini(self, *lines: str) -> None:
        (self.path / "pytest.ini").write_text("\n".join(["[pytest]", *lines]) + "\n", encoding="utf-8")

    def words(self, *words: str) -> list[str]:
        """A command line."""
        wheel = [] if any(word.startswith("--wheel=") for word in words) else [f"--wheel={self.wheel}"]
        python = [] if any(word.startswith("--wheel-python=") for word in words) else [f"--wheel-python={self.python}"]
        return [
            *self.prefix,
            sys.executable,
            *self.program,
            "-v",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:hypothesispytest",
            "--wheel-select=WHL101",
            *wheel,
            *python,
            *words,
        ]

    @contextlib.contextmanager
    def started(self, *words: str, env: Mapping[str, str] = {}) -> Iterator[subprocess.Popen[bytes]]:
        """A run in the making; what it says is in the file ``said``."""
        with (self.path / "said").open("wb") as said:
            process = subprocess.Popen(
                self.words(*words),
                cwd=self.path,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                # A shell starts what it runs in the background deaf to Ctrl-C.
                preexec_fn=_hear if os.name == "posix" else None,  # noqa: PLW1509  no threads here
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def said(self) -> str:
        return (self.path / "said").read_text(encoding="utf-8", errors="replace")

    def run(self, *words: str, bound: float = 180.0, env: Mapping[str, str] = {}, kept: bool = False) -> RunOutput:
        """Run to the end, within *bound* seconds, and look that nothing is left.

        :param kept: whether the run says that it keeps something.
        """
        with self.started(*words, env=env) as process:
            try:
                code = process.wait(bound)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                pytest.fail(f"not ended within {bound:g} s:\n{self.said()}")
        self.nothing_left(files=not kept)
        text = self.said()
        assert "INTERNALERROR>" not in text
        return parse_output(code, text)

    def processes(self) -> dict[int, str]:
        """What lives of all runs here (Linux)."""
        found: dict[int, str] = {}
        if sys.platform != "linux":
            return found
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and f"{MARKER}={self._mark}".encode() in (folder / "environ").read_bytes():
                    words = (folder / "cmdline").read_bytes()
                    if words:  # a zombie has none
                        found[int(folder.name)] = words.replace(b"\0", b" ").decode(errors="replace")
        return found

    def nothing_left(self, *, files: bool = True, seconds: float = 10.0) -> None:
        """Look that no process lives, at once or after a moment, and that no temporary folder is left."""
        end = time.monotonic() + seconds
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        left = self.processes()
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        assert not left, left
        assert not files or not list(self.temp.glob("wheelcheck-*"))
