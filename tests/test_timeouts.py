"""Timeouts: the project's own ones work in the target; a test that they cannot end is ended from outside."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, run_output

from pytest_wheelcheck.plugin.options import INI_KEYS

WINDOWS = sys.platform == "win32"

#: Message of pytest-timeout's default method: without SIGALRM that is a thread, which ends the process.
TIMEOUT = "Timeout" if WINDOWS else "Failed: Timeout"

#: A deadlock in C that holds the GIL: no signal handler and no other thread of the interpreter can run.
HANG = """
import ctypes, os

def hang():
    if os.name == "nt":
        ctypes.PyDLL("kernel32").Sleep(10**8)
    libc = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(128)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
"""


@pytest.fixture
def wheel(pytester: pytest.Pytester) -> Path:
    return build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": HANG})


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))


def block(text: str, title: str) -> str:
    """Return the report of one failure."""
    _, found, rest = text.partition(f"{title} __")
    assert found, title
    return rest.partition("\n___")[0] + "\n"


def test_timeouts_of_the_project(pytester: pytest.Pytester, run_wheels: Run, wheel: Path) -> None:
    write(
        "pytest.ini",
        """
        [pytest]
        timeout = 1
        timeout_method = thread
        wheel_test_timeout = 3
        """,
    )
    write(
        "tests/test_times.py",
        """
        import os, threading, time
        import demo, pytest

        METHOD = "signal" if os.name == "posix" else "thread"

        def other_thread(event=threading.Event()):
            event.wait()

        @pytest.fixture(scope="module")
        def shared():
            return []

        def test_before(shared):
            shared.append(1)

        def test_hang_with_the_gil(shared):
            threading.Thread(target=other_thread, daemon=True).start()
            print("printed before")
            demo.hang()

        def test_after(shared):
            assert shared == []

        def test_thread_method():
            threading.Thread(target=other_thread, daemon=True).start()
            print("printed before")
            time.sleep(30)

        @pytest.mark.timeout(0.3, method=METHOD)
        def test_marker():
            time.sleep(30)

        @pytest.fixture
        def slow():
            time.sleep(0.6)

        @pytest.mark.timeout(0.4, func_only=True)
        def test_function_only(slow):
            pass

        @pytest.mark.timeout(0)
        def test_without():
            time.sleep(1.2)

        @pytest.mark.timeout(0)
        def test_hang_without():
            demo.hang()

        def test_last(): pass
        """,
    )
    result = run_wheels("--wheel", wheel, "--wheel-select=WHL101", "-v", timeout=60)
    found = run_output(result)
    text = found.text
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert [name.partition("::")[2] for name in found.only("FAILED")] == [
        "test_hang_with_the_gil",
        "test_hang_without",
        "test_marker",
        "test_thread_method",
    ]
    assert [name.partition("::")[2] for name in found.only("PASSED") if "::" in name] == [
        "test_after",
        "test_before",
        "test_function_only",
        "test_last",
        "test_without",
    ]

    report = block(text, "test_hang_with_the_gil")
    assert "Timeout: the test did not end within its own timeout of 1 s and was ended from outside" in report
    assert "holds the GIL" in report
    # The stacks of all threads: the one in native code and the other one.
    assert "in hang\n" in report
    assert "in test_hang_with_the_gil\n" in report
    assert "in other_thread\n" in report

    report = block(text, "test_thread_method")
    assert "Timeout (>1s) from pytest-timeout" in report
    assert "in test_thread_method\n" in report
    assert "in other_thread\n" in report
    assert "printed before" in report

    assert f"{TIMEOUT} (>0.3s) from pytest-timeout{',' if WINDOWS else '.'}" in block(text, "test_marker")

    report = block(text, "test_hang_without")
    assert "did not end within 3 s (wheel_test_timeout) and was ended from outside" in report
    assert "in hang\n" in report


def test_timeout_on_the_command_line(pytester: pytest.Pytester, run_wheels: Run, wheel: Path) -> None:
    write(
        "tests/test_times.py",
        """
        import time
        import pytest

        def test_too_long():
            time.sleep(30)

        @pytest.mark.timeout(20)
        def test_longer():
            time.sleep(0.6)

        def test_last(): pass
        """,
    )
    result = run_wheels("--wheel", wheel, "--wheel-select=WHL101", "--timeout=0.3", timeout=60)
    result.assert_outcomes(passed=5, failed=1)
    begin, end = ("FAILED *", ", whose thread *") if WINDOWS else ("E * ", ".")
    result.stdout.fnmatch_lines([f"{begin}{TIMEOUT} (>0.3s) from pytest-timeout{end}"])


def test_timeouts_outside_of_tests(pytester: pytest.Pytester, run_wheels: Run, wheel: Path) -> None:
    """A module that hangs during collection and a session that does not end are reported, and the run ends."""
    write("pytest.ini", "[pytest]\nwheel_test_timeout = 2\n")
    write("tests/test_hangs.py", "import demo\ndemo.hang()\n")
    write("tests/test_good.py", "def test_good(): pass\n")
    write("tests/conftest.py", "def pytest_sessionfinish():\n    import demo\n    demo.hang()\n")
    result = run_wheels("--wheel", wheel, "--wheel-select=WHL101", "-v", timeout=60)
    found = run_output(result)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.nodes["tests/test_hangs.py"] == "FAILED"
    report = block(found.text, "tests/test_hangs.py")
    assert "collecting tests/test_hangs.py did not end within 2 s" in report
    assert 'test_hangs.py", line 2 in <module>' in report
    assert found.nodes["tests/test_good.py::test_good"] == "ERROR"
    assert "the end of the session in the target did not come within 2 s" in found.text
    assert "in pytest_sessionfinish\n" in found.text


#: The limit for the start of an interpreter, which has no option.
QUICK_START = """
import importlib.util

# The target's pytest loads this file, too.
if importlib.util.find_spec("pytest_wheelcheck"):
    from pytest_wheelcheck.targets.preparing import installed_target
    from pytest_wheelcheck.targets.running import collecting

    installed_target.START_TIMEOUT = collecting.START_TIMEOUT = 4.0
"""


def test_a_pth_file_that_hangs(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """No interpreter of the environment starts. The first message, which none reads, is larger than the buffer of a pipe."""
    write("pytest.ini", "[pytest]\nwheel_test_timeout = 2\n")
    write("quick_start.py", QUICK_START)
    write("tests/test_one.py", "def test_one(): pass\n")
    modules = [f"module_with_a_name_of_a_certain_length_{number:04}" for number in range(1000)]
    assert sum(map(len, modules)) * 2 > 1 << 16
    files = {**{f"{name}.py": "" for name in modules}, "hang.pth": "import time; time.sleep(600)\n"}
    build_wheel(pytester.path / "dist", "demo", files=files)
    result = run_wheels("-v", "-p", "quick_start", "--wheel=dist", "--wheel-select=WHL101", "tests")
    found = run_output(result)
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.only("PASSED") == ["install"]
    assert found.only("ERROR") == ["import", *(f"import[{name}]" for name in modules)]
    assert found.only("FAILED") == ["collect"]
    assert "the interpreter did not start within 4 s\nCause: a .pth file or a sitecustomize module" in found.text
    assert "loading pytest and the conftest files did not end within 6 s" in found.text


IMPATIENT = """
import importlib.util

# The target's pytest loads this file, too.
if importlib.util.find_spec("pytest_wheelcheck"):
    from pytest_wheelcheck.system import progress

    progress._LONG = 0.5
"""


def test_an_import_that_takes_long_is_told(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """Nobody waits ten minutes without knowing what for."""
    write("impatient.py", IMPATIENT)
    write("tests/test_one.py", "def test_one(): pass\n")
    files = {"slow/__init__.py": "import time; time.sleep(3)\n", "slow/quick.py": ""}
    build_wheel(pytester.path / "dist", "slow", files=files)
    result = run_wheels(
        "-p", "impatient", "--wheel=dist", "--wheel-select=WHL101", "-o", "wheel_test_timeout=60", "tests"
    )
    result.assert_outcomes(passed=6)
    found = run_output(result).text
    assert re.search(
        r"^wheelcheck: dist/slow-\S+::\S+: importing slow, after 1 s; the timeout is 60 s$",
        found,
        re.MULTILINE,
    ), found


def test_timeout_func_only_without_a_timeout(pytester: pytest.Pytester, run_wheels: Run, wheel: Path) -> None:
    """The key alone sets no timeout: a test may take longer than the grace of 5 s that a timeout gets."""
    write("pytest.ini", "[pytest]\ntimeout_func_only = true\nwheel_test_timeout = 60\n")
    write("tests/test_times.py", "import time\ndef test_slow(): time.sleep(6)\n")
    result = run_wheels("--wheel=dist", "--wheel-select=WHL201", "tests")
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\nwheel_test_timeout = 1\n"),
        ("pytest.toml", "[pytest]\nwheel_test_timeout = 1\n"),
        ("pyproject.toml", "[tool.pytest]\nwheel_test_timeout = 1.0\n"),
    ],
)
def test_numbers_in_every_configuration(
    pytester: pytest.Pytester, run_wheels: Run, wheel: Path, name: str, text: str
) -> None:
    write(name, text)
    write("tests/test_times.py", "import time\ndef test_slow(): time.sleep(60)\n")
    result = run_wheels("--wheel=dist", "--wheel-select=WHL201", "tests")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["Timeout: the test did not end within 1 s (wheel_test_timeout) *"])


#: Prints the values of the ini keys that are numbers.
SHOW = """
from pytest_wheelcheck.plugin.configuration import read_settings

def pytest_report_header(config):
    found = read_settings(config)
    return f"found: {[found.test_timeout, found.entry_timeout, found.timeout_scale, found.max_size]}"
"""

#: Numbers of the keys that are shown, as the configuration has them. One of them may have a unit.
NUMBERS = {
    "wheel_test_timeout": "7",
    "wheel_entry_timeout": "1.5",
    "wheel_timeout_scale": "3",
    "wheel_max_size": "1000",
}


@pytest.mark.parametrize("size", ["1000", '"1000"', '"1 kB"'])
@pytest.mark.parametrize(
    ("name", "table"), [("pytest.ini", "pytest"), ("pytest.toml", "pytest"), ("pyproject.toml", "tool.pytest")]
)
def test_every_key_that_is_a_number(
    pytester: pytest.Pytester, run_wheels: Run, wheel: Path, name: str, table: str, size: str
) -> None:
    assert {key.name for key in INI_KEYS if key.type in {"int", "float"}} | {"wheel_max_size"} == set(NUMBERS)
    lines = {**NUMBERS, "wheel_max_size": size.strip('"') if name == "pytest.ini" else size}
    write(name, "".join((f"[{table}]\n", *(f"{key} = {value}\n" for key, value in lines.items()))))
    write("show.py", SHOW)
    result = run_wheels("-p", "show", "--wheel=dist", "--wheel-static", "--collect-only")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["found: [[]7.0, 1.5, 3.0, 1000[]]"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\nwheel_test_timeout = -1\n"),
        ("pytest.ini", "[pytest]\nwheel_test_timeout = soon\n"),
        ("pytest.toml", '[pytest]\nwheel_test_timeout = "soon"\n'),
        ("pytest.ini", "[pytest]\nwheel_max_size = large\n"),
        ("pytest.toml", "[pytest]\nwheel_max_size = -1\n"),
        ("pytest.toml", "[pytest]\nwheel_max_size = ['1']\n"),
    ],
)
def test_invalid_numbers(pytester: pytest.Pytester, run_wheels: Run, wheel: Path, name: str, text: str) -> None:
    write(name, text)
    result = run_wheels("--wheel=dist")
    assert result.ret == 4
    key, _, value = text.partition("\n")[2].strip().replace('"', "").partition(" = ")
    what = "a size" if key == "wheel_max_size" else "a number of 0 or more"
    assert f"ERROR: {key} = {value} in {name} is not {what}" in result.stderr.str()
