"""The plugin as on Windows: the plugin itself, its dependencies, the wheel and the target are for Windows.

The interpreter is CPython for Windows, under Wine; the tests use Wine in no other way.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import provisioned
import pytest
from builders import build_wheel
from nodes import RunOutput, parse_output
from windows import Run, make_environment

from pytest_wheelcheck.backends.wine import provide, runner
from pytest_wheelcheck.errors import WheelcheckError

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="on Windows, the other tests run the plugin in this way"),
]

#: Files of tests that start few runs of pytest. The others run with `tox run -e windows`.
QUICK = (
    "checks/test_container.py",
    "test_cache.py",
    "test_cache_command.py",
    "test_docs.py",
    "test_finders.py",
    "test_guard.py",
    "test_installer.py",
    "test_reporting.py",
    "test_rooms.py",
    "test_interpreters_debian.py",
    "test_interpreters_host.py",
    "test_interpreters_libraries.py",
    "test_interpreters_tags.py",
    "test_targets.py",
    "test_wheel.py",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the interpreter of a Windows environment in which the plugin is installed."""
    try:
        provide.get(offline=False)
    except WheelcheckError as error:
        raise provisioned.missing("wine", str(error)) from None
    return make_environment(tmp_path_factory.mktemp("windows"))


TESTS = """
import ctypes, faulthandler, os, subprocess, sys
import pytest
import demo

def test_facts(wheel_target):
    assert sys.platform == "win32" and wheel_target.machine == "host" and not wheel_target.emulated
    assert demo.__file__.startswith(sys.prefix) and sys.prefix != sys.base_prefix

def test_pty_resize(): raise AssertionError
def test_fault(): faulthandler._read_null()
def test_hang(): ctypes.PyDLL("kernel32").Sleep(10**8)
def test_exit(): os._exit(0)
def test_left(): subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

@pytest.mark.parametrize("letter", "äb")
def test_last(letter, tmp_path):
    assert tmp_path.drive
"""


def test_a_run_on_windows(run: Run, tmp_path: Path) -> None:
    build_wheel(
        tmp_path / "dist",
        "demo",
        files={"demo/__init__.py": "def main():\n    print('started')\n"},
        tags=("cp313-cp313-win_amd64",),
        entry_points={"console_scripts": {"demo-tool": "demo:main"}},
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nwheel_test_timeout = 5\nwheel_executables = demo-tool: x\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "tests/test_b.py").write_text("import termios\n", encoding="utf-8")
    done = run(
        "-m",
        "pytest",
        "-v",
        "-rs",
        "--wheel",
        "dist",
        "--wheel-report=r.json",
        "--wheel-select=WHL101",
        "tests",
        cwd=tmp_path,
    )
    found: RunOutput = parse_output(done.returncode, done.stdout, done.stderr)
    nodes = {name.rpartition("::")[2].removeprefix("tests/"): outcome for name, outcome in found.nodes.items()}
    assert nodes == {
        "install": "PASSED",
        "import[demo]": "PASSED",
        "entry[demo-tool]": "PASSED",
        "run[demo-tool]": "PASSED",
        "test_facts": "PASSED",
        "test_pty_resize": "SKIPPED",
        "test_fault": "FAILED",
        "test_hang": "FAILED",
        "test_exit": "FAILED",
        "test_left": "PASSED",
        "test_last[\\xe4]": "PASSED",
        "test_last[b]": "PASSED",
        "test_b.py": "SKIPPED",
    }, found.text
    for text in ("access violation", "did not end within 5 s", "the running interpreter", "termios"):
        assert text in found.text
    for name in ("fault", "hang"):
        assert re.search(rf"test_a\.py\", line \d+,? in test_{name}", found.text)
    assert found.text.count("were ended: ") == 1
    assert re.search(r"tests left processes running, which were ended: \d: \d+ .*python\.exe", found.text)
    assert runner.LEFT_RUNNING not in done.stderr
    assert (tmp_path / "r.json").is_file()


@pytest.mark.long
def test_our_own_tests_on_windows(run: Run) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in QUICK))
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
