"""The console scripts of the test tools can be started by name, as in an environment of tox."""

from __future__ import annotations

import sys
from platform import machine

import pytest
from builders import build_wheel
from nodes import Run

TESTS = """
import shutil, subprocess, sys

def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True)

def test_the_tool_sees_wheel_and_tools():
    done = run("tool", "a b")
    assert done.stdout.split("|") == ["['a b']", "demo, helper", sys.executable + "\\n"], done

def test_pytest():
    assert run("pytest", "--version").stdout.startswith("pytest ")

def test_scripts_of_the_wheel_come_first():
    assert run("both").stdout == "of the wheel\\n"
"""


@pytest.mark.parametrize(
    ("tag", "python"),
    [
        pytest.param("py3-none-any", sys.executable, id="native"),
        pytest.param(
            "cp311-none-manylinux_2_17_aarch64",
            "3.11",
            id="emulated",
            marks=[
                pytest.mark.network,
                pytest.mark.long,
                pytest.mark.skipif(sys.platform != "linux" or machine() != "x86_64", reason="aarch64 is emulated here"),
            ],
        ),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="programs of Windows start the interpreter that installed them")
def test_console_scripts(pytester: pytest.Pytester, run_wheels: Run, tag: str, python: str) -> None:
    wheel = "def main():\n    print('of the wheel')\n"
    tool = "import sys, demo\ndef main():\n    print(sys.argv[1:], 'demo, helper', sys.executable, sep='|')\n"
    other = "def other():\n    print('of the tools')\n"
    build_wheel(
        pytester.path / "dist",
        "demo",
        files={"demo/__init__.py": wheel},
        entry_points={"console_scripts": {"both": "demo:main"}},
        tags=[tag],
    )
    helper = build_wheel(
        pytester.path / "tools",
        "helper",
        files={"helper.py": tool + other},
        entry_points={"console_scripts": {"tool": "helper:main", "both": "helper:other"}},
    )
    (pytester.mkdir("tests") / "test_it.py").write_text(TESTS, encoding="utf-8")
    result = run_wheels(
        "--wheel=dist",
        "--wheel-select=WHL201",
        f"--wheel-requires={helper}",
        f"--wheel-python={python}",
        "tests",
        timeout=300,
    )
    result.assert_outcomes(passed=7)
