"""The soak: runs with random faults injected. Nothing may be lost, wrong or left behind, and the cache stays sound.

``python tests/soak.py [--runs N] [--seed S]`` prints a line for each run, with the seed that makes it again, and a table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from builders import build_wheel
from ground import Ground
from nodes import RunOutput, parse_output

from pytest_wheelcheck.targets import environment

#: Tests by name: what they do, and whether they pass.
KINDS = {
    "passes": ("pass", True),
    "fails": ("assert False", False),
    "prints": ("os.write(1, b'x' * 100_000)", True),
    "segfault": ("os.kill(os.getpid(), signal.SIGSEGV)", False),
    "null": ("ctypes.string_at(0)", False),
    "abort": ("os.abort()", False),
    "exit": ("os._exit(0)", False),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", False),
    "hang": ("ctypes.PyDLL(None).sleep(60)", False),
    "daemon": ("daemon()", True),
    "child": ("subprocess.Popen(['sleep', '9009'])", True),
    "fork": ("os.fork()", True),
    "close": ("os.closerange(0, 3)", True),
    "slow": ("time.sleep(0.3)", True),
}

HEAD = """
import ctypes, os, signal, subprocess, time
import demo

def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "9010"])
        os._exit(0)
    os.wait()
"""

FAULTS = ("none", "kill worker", "kill run", "interrupt", "terminate", "full disk", "side by side", "empty cache")


class WrongError(Exception):
    """A promise was broken."""


class Soak:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.fault = ""
        wheel = build_wheel(folder / "dist", "demo", files={"demo/__init__.py": ""})
        (folder / "project").mkdir()
        self.ground = Ground(folder / "project", folder / "temporary", wheel)
        self.ground.env["WHEELCHECK_CACHE"] = str(self.cache)
        self.ground.ini("wheel_test_timeout = 2")

    def write_tests(self, rng: random.Random) -> dict[str, str]:
        """Write a file of tests; return the expected outcomes of all nodes."""
        weights = [1 if name == "hang" else 3 for name in KINDS]
        chosen = rng.choices(list(KINDS), weights, k=rng.randint(4, 16))
        text = HEAD + "".join(f"\ndef test_{at}_{name}(): {KINDS[name][0]}\n" for at, name in enumerate(chosen))
        self.ground.write(test_soak=text)
        expected = {
            f"tests/test_soak.py::test_{at}_{name}": "PASSED" if KINDS[name][1] else "FAILED"
            for at, name in enumerate(chosen)
        }
        return {"install": "PASSED", "import[demo]": "PASSED", **expected}

    def once(self, seed: int) -> str:
        """One run with one fault; return what was done."""
        rng = random.Random(seed)
        expected = self.write_tests(rng)
        fault = rng.choice(FAULTS)
        self.fault = fault
        if fault == "full disk":
            return self.full_disk(rng, expected)
        if fault == "empty cache":
            shutil.rmtree(self.cache / "overlays", ignore_errors=True)
            fault = "side by side"
        if fault == "side by side":
            return self.side_by_side(expected)
        moment = rng.uniform(0.0, 6.0)
        with self.ground.started() as process:
            hit = fault == "none"
            if not hit:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                hit = self.strike(fault, process, rng)
                if fault in {"interrupt", "terminate"} and hit:
                    self.ends_within(process, 6.0)
            code = self.ends_within(process, 120.0)
        self.ground.nothing_left(files=fault != "kill run", seconds=6.0)
        found = parse_output(code, self.ground.said())
        if fault == "none":
            self.exact(found, expected)
        else:
            self.no_lie(found, expected, hit=hit and fault == "kill worker", whole=not hit or fault == "kill worker")
        if fault == "kill run":
            # The next run is none the worse for it, and cleans up.
            self.exact(self.ground.run(bound=120), expected)
        return f"{fault} after {moment:.1f} s" if fault != "none" else fault

    def strike(self, fault: str, process: subprocess.Popen[bytes], rng: random.Random) -> bool:
        """Do it; say whether there was still something to be hit."""
        if process.poll() is not None:
            return False
        if fault == "kill worker":
            workers = [pid for pid, words in self.ground.processes().items() if "_wheelcheck_worker" in words]
            if not workers:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
            return True
        number = {"kill run": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}[fault]
        process.send_signal(number)
        return True

    def side_by_side(self, expected: dict[str, str]) -> str:
        files = [self.folder / f"said{number}" for number in range(3)]
        processes = []
        for file in files:
            with file.open("wb") as said:
                processes.append(
                    subprocess.Popen(
                        self.ground.words(),
                        cwd=self.ground.path,
                        env=self.ground.env,
                        stdin=subprocess.DEVNULL,
                        stdout=said,
                        stderr=said,
                    )
                )
        for process, file in zip(processes, files, strict=True):
            code = self.ends_within(process, 180.0)
            self.exact(parse_output(code, file.read_text(errors="replace")), expected)
        self.ground.nothing_left()
        return "three side by side"

    def full_disk(self, rng: random.Random, expected: dict[str, str]) -> str:
        size = rng.randint(200, 24_000)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(self.disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            return "full disk: none can be mounted"
        try:
            temp, self.ground.temp = self.ground.temp, self.disk
            found = self.ground.run(env={"TMPDIR": str(self.disk)}, bound=120)
        finally:
            self.ground.temp = temp
            subprocess.run(["umount", "-l", str(self.disk)], check=True)
        self.no_lie(found, expected, hit=True, whole=False)
        return f"temporary folder of {size} KiB"

    @staticmethod
    def ends_within(process: subprocess.Popen[bytes], seconds: float) -> int:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise WrongError(f"not ended within {seconds:g} s") from None

    @staticmethod
    def exact(found: RunOutput, expected: dict[str, str]) -> None:
        code = pytest.ExitCode.TESTS_FAILED if "FAILED" in expected.values() else pytest.ExitCode.OK
        if found.nodes != expected or found.code != code:
            raise WrongError(
                f"exit code {found.code}, expected {int(code)}; {set(found.nodes.items()) ^ set(expected.items())}"
            )

    @staticmethod
    def no_lie(found: RunOutput, expected: dict[str, str], *, hit: bool, whole: bool) -> None:
        """No pass that is none; a result of every test, or a node that says why there is none."""
        # An interrupt may meet pytest where it has a traceback for it, before the session and after.
        ours = "pytest_wheelcheck/" in found.text and "Traceback (most recent call last)" in found.text
        if "INTERNALERROR" in found.text or (ours and "\nKeyboardInterrupt" not in found.text):
            raise WrongError("a traceback of ours")
        for name, outcome in found.nodes.items():
            if outcome == "PASSED" and expected.get(name) != "PASSED":
                raise WrongError(f"{name} passed")
        blamed = [
            name for name, outcome in found.nodes.items() if outcome != "PASSED" and expected.get(name) != outcome
        ]
        told = [name for name in blamed if name in {"install", "import", "tools", "collect"} or name.endswith(".py")]
        if (whole and set(expected) - set(found.nodes) and not told) or (blamed and not hit):
            raise WrongError(f"lost {set(expected) - set(found.nodes)}, blamed {blamed}")
        if found.code == 0 and (blamed or set(expected) - set(found.nodes) or "FAILED" in expected.values()):
            raise WrongError("exit code 0")
        if hit and whole and len(blamed) > 1:
            raise WrongError(f"one blow, several blamed: {blamed}")

    def check_cache(self) -> None:
        for mark in self.cache.glob("overlays/*/.complete"):
            if not environment._is_whole(mark.parent):
                raise WrongError(f"not whole in the cache: {mark.parent.name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    found = parser.parse_args()
    wrong: list[int] = []
    counts: Counter[str] = Counter()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder))
        for seed in range(found.seed, found.seed + found.runs):
            start = time.monotonic()
            try:
                what = soak.once(seed)
                soak.check_cache()
                verdict = "good"
            except (WrongError, AssertionError, pytest.fail.Exception) as error:
                what, verdict = f"WRONG ({soak.fault})", f"{type(error).__name__}: {error}"
                wrong.append(seed)
                Path(f"soak-{seed}.txt").write_text(f"{verdict}\n{soak.ground.said()}", encoding="utf-8")
                # What one leaves is not to be found by the next.
                for left in soak.ground.temp.glob("wheelcheck-*"):
                    shutil.rmtree(left, ignore_errors=True)
                for pid in soak.ground.processes():
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
            counts[what.split(" after")[0].split(" of ")[0]] += 1
            print(f"seed {seed}: {what}, {time.monotonic() - start:.1f} s: {verdict}", flush=True)
    print(f"{found.runs} runs in {time.monotonic() - begin:.0f} s, {len(wrong)} wrong {wrong or ''}")
    for what, count in sorted(counts.items()):
        print(f"  {count:4} {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
