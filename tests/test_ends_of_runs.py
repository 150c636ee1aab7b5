"""How a run ends: `pytest.exit`, `--deselect` of many tests, output that the shell writes into the project."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import COMMAND, Run

from pytest_wheelcheck.plugin.collection import _Prefixes, _selecting


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": ""})
    pytester.makeini("[pytest]\n")
    return pytester.path


def write(root: Path, text: str) -> None:
    (root / "tests").mkdir()
    (root / "tests" / "test_it.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("arguments", "status"), [("'enough', returncode=7", 7), ("'enough'", 2)])
def test_exit_status_of_pytest_exit(root: Path, run_wheels: Run, arguments: str, status: int) -> None:
    write(root, f"import pytest\ndef test_one(): pytest.exit({arguments})\ndef test_two(): pass\n")
    result = run_wheels("--wheel=dist", "--wheel-select=WHL201", "tests")
    assert result.ret == status
    result.stdout.fnmatch_lines(["!*tests/test_it.py::test_one: enough*!"])
    assert "test_two" not in result.stdout.str()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("redirection", ["> log.txt", "| tee log.txt", "2> log.txt"])
def test_output_in_the_project_is_no_change_by_a_test(root: Path, redirection: str) -> None:
    write(root, "def test_it(): open('left.txt', 'w').close()\n")
    arguments = ["-p", "no:cacheprovider", "--wheel=dist", "--wheel-select=WHL201", f"--wheel-python={sys.executable}"]
    command = shlex.join([sys.executable, "-m", "pytest", *arguments, "tests"])
    done = subprocess.run(
        ["sh", "-c", f"{command} {redirection}"], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    text = done.stdout + (root / "log.txt").read_text()
    assert "tests modified the source tree: left.txt (new)\n" in text


def test_deselected_prefixes() -> None:
    texts = ["a::b", "a::bc", "a:", "b", "", "a::b[x]", "ab", "zz", "a::a"]
    for prefixes in (["a::b"], ["a", "a::b", "a"], ["z", "a::b["], ["b", "c", "a::bc"], [], ["zzz", "a::b[x]y"]):
        found = _Prefixes(prefixes)
        assert [found.match(text) for text in texts] == [text.startswith(tuple(prefixes)) for text in texts]


def test_many_prefixes() -> None:
    """Comparing each with each takes minutes."""
    ids = [f"tests/test_it.py::test_it[{number}]" for number in range(100_000)]
    start = time.monotonic()
    assert all(map(_Prefixes(ids).match, ids))
    assert time.monotonic() - start < 20


def test_selecting_ids() -> None:
    node_id = "dist/w.whl::cp312::t.py::C::test[a[1]::b]"
    for selection in (node_id, "dist/w.whl", "dist/w.whl::cp312", "dist/w.whl::cp312::t.py::C::test"):
        assert selection in _selecting(node_id)
    for other in ("dist/w", "dist/w.whl::cp31", "dist/w.whl::cp312::t.py::C::tes", ""):
        assert other not in _selecting(node_id)


def test_many_deselected_tests(root: Path, run_wheels: Run) -> None:
    """Named in a file of arguments."""
    write(root, "import pytest\n@pytest.mark.parametrize('n', range(1000))\ndef test_it(n): pass\n")
    lines = (f"--deselect=tests/test_it.py::test_it[{number}]\n" for number in range(998))
    (root / "deselected.txt").write_text("".join(lines), encoding="utf-8")
    result = run_wheels("--wheel=dist", "--wheel-select=WHL201", "@deselected.txt", "tests")
    result.assert_outcomes(passed=5, deselected=998)


#: Sets the option: argparse takes minutes for so many arguments.
MANY = """
import importlib.util, pathlib, time

# The target's pytest loads this file, too.
if importlib.util.find_spec("pytest_wheelcheck"):
    from pytest_wheelcheck.plugin import collection

    def pytest_configure(config):
        config.option.deselect = pathlib.Path("ids.txt").read_text(encoding="utf-8").splitlines()

    def measured(config, items, deselect=collection.deselect):
        start = time.monotonic()
        deselect(config, items)
        pathlib.Path("seconds.txt").write_text(str(time.monotonic() - start), encoding="ascii")

    collection.deselect = measured
"""


def test_thousands_of_deselected_tests(root: Path, run_wheels: Run) -> None:
    """Comparing each test with each id takes minutes."""
    count = 20_000
    write(root, f"import pytest\n@pytest.mark.parametrize('n', range({count}))\ndef test_it(n): pass\n")
    ids = "".join(f"tests/test_it.py::test_it[{number}]\n" for number in range(count - 2))
    (root / "ids.txt").write_text(ids, encoding="utf-8")
    (root / "many.py").write_text(MANY, encoding="utf-8")
    result = run_wheels("-p", "many", "--wheel=dist", "--wheel-select=WHL201", "tests")
    result.assert_outcomes(passed=5, deselected=count - 2)
    assert float((root / "seconds.txt").read_text(encoding="ascii")) < 5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports a closed pipe in another way")
@pytest.mark.parametrize(
    "arguments", [["machines"], ["machines", "--json"], ["checks"], ["--help"], ["cache", "--help"]]
)
@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_reader_that_closes_the_pipe(arguments: list[str], unbuffered: str) -> None:
    """As `| head`. The reader is gone before the command starts, so its first write fails, or the flush at its end."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [COMMAND, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    # argparse drops the error of a help that is not buffered.
    assert done.returncode == (0 if unbuffered and "--help" in arguments else 1)
