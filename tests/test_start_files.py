"""Entry points that run while the interpreter starts (PEP 829): the guard comes before those of the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, run_output

HOOK = """
import sys

def main():
    import pkg
    pkg.SEEN.append(("Guard" in [type(finder).__name__ for finder in sys.meta_path[:1]], pkg.__file__))
"""

TESTS = """
import pathlib, subprocess, sys

HERE = str(pathlib.Path(sys.prefix).resolve())

def check(seen):
    ((guarded, file),) = seen
    assert guarded
    assert str(pathlib.Path(file).resolve()).startswith(HERE)

def test_of_this_process():
    import pkg
    check(pkg.SEEN)

def test_of_another_process():
    code = "import sys; print(sys.modules['pkg'].SEEN)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    check(eval(done.stdout))

def test_version():
    assert sys.version_info[:2] == (3, 15)
"""


@pytest.mark.long
@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="the interpreters of published wheels are for Linux")
def test_the_guard_is_active_before_the_entry_points_of_the_wheel(
    pytester: pytest.Pytester, run_wheels: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={"pkg/__init__.py": "SEEN = []\n", "pkg/hook.py": HOOK, "pkg.start": "pkg.hook:main\n"},
    )
    # Another copy, found first by everything that does not know the guard.
    decoy = pytester.path / "pkg"
    decoy.mkdir()
    (decoy / "__init__.py").write_text("SEEN = [(False, 'decoy')]\n", encoding="ascii")
    (decoy / "hook.py").write_text(HOOK, encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    Path("test_it.py").write_text(TESTS, encoding="ascii")
    ran = run_output(
        run_wheels(
            *("-v", "--wheel=dist", "--wheel-select=WHL201", "test_it.py"),
            *("--wheel-python=3.15t", "--wheel-providers=published"),
        )
    )
    assert ran.only("FAILED") == ran.only("ERROR") == ran.only("SKIPPED") == []
    assert {f"test_it.py::test_{name}" for name in ("of_this_process", "of_another_process", "version")} <= set(
        ran.nodes
    )
    assert ran.code == 0
