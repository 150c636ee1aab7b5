"""Coverage (``--cov``): the data of all targets comes back, refers to the source tree, and is reported once."""

from __future__ import annotations

import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from board_runs import BoardRun
from boards import Board
from builders import build_wheel
from nodes import Run, RunOutput, run_output

from pytest_wheelcheck.plugin import coverage_options
from pytest_wheelcheck.plugin.arguments import divide
from pytest_wheelcheck.settings import Coverage
from pytest_wheelcheck.targets.coverage.sources import configured

#: A package whose lines 4, 6 and 7 run on one kind of target each.
WHERE = """import platform, sys
def where():
    if sys.platform == "win32":
        return "windows"
    if platform.machine() == "aarch64":
        return "arm"
    return "here"
"""

UNUSED = "VALUE = 1\ndef never():\n    return 2\n"

TESTS = "import demo\ndef test_where():\n    assert demo.where()\n"

PROJECT = '[project]\nname = "demo"\nversion = "1.0"\n'

#: The report of one target here: one of three kinds of lines runs.
HERE = {"demo/__init__.py": "4, 6", "demo/unused.py": "1-3"}


def make_project(path: Path, *tags: str, base: str = "src") -> None:
    """Write a project whose package is in a directory of its own, and a wheel for each tag."""
    files = {"demo/__init__.py": WHERE, "demo/unused.py": UNUSED}
    for name, text in {
        "pyproject.toml": PROJECT,
        "tests/test_demo.py": TESTS,
        **{f"{base}/{name}": text for name, text in files.items()},
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    for tag in tags or ("py3-none-any",):
        build_wheel(path / "dist", "demo", files=files, tags=[tag])


@pytest.fixture
def run(run_wheels: Run) -> Callable[..., RunOutput]:
    """Run the tests of the project in the working directory with the given options."""
    return lambda *args, timeout=120.0: run_output(
        run_wheels("--wheel=dist", "--wheel-select=WHL101", "-v", "tests", *args, timeout=timeout)
    )


def missing(text: str, base: str = "src") -> dict[str, str]:
    """Return the lines that did not run, by file, as ``term-missing`` shows them."""
    table = text.partition(" tests coverage ")[2].partition("TOTAL")[0]
    rows = re.findall(
        rf"^{base}/(\S+) +\d+ +\d+ +\d+% *(.*)$" if base else r"^(\S+\.py) +\d+ +\d+ +\d+% *(.*)$", table, re.MULTILINE
    )
    assert len(rows) == len(dict(rows)), table
    return dict(rows)


def measured_files(data: Path) -> set[str]:
    with closing(sqlite3.connect(data)) as database:
        return {path for (path,) in database.execute("select path from file")}


@pytest.mark.parametrize(("option", "base"), [("--cov=demo", "."), ("--cov=src/demo", "src")])
def test_names_and_directories_mean_the_installed_files(
    option: str, base: str, run: Callable[..., RunOutput], pytester: pytest.Pytester
) -> None:
    make_project(pytester.path, base=base)
    found = run(option, "--cov-report=term-missing")
    assert found.code == 0, found.text
    assert missing(found.text, "" if base == "." else base) == HERE
    assert found.text.count("TOTAL") == 1
    source = pytester.path / base / "demo"
    assert measured_files(pytester.path / ".coverage") == {str(source / "__init__.py"), str(source / "unused.py")}
    assert "tests modified the source tree" not in found.text


def test_without_a_value_the_configuration_decides(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    """Also the name of the data file, relative paths, what is left out, and the percentage that is required."""
    make_project(pytester.path)
    Path(".coveragerc").write_text(
        "[run]\nsource = src\nrelative_files = true\nomit = src/demo/unused.py\ndata_file = made/data\n"
        "[report]\nfail_under = 90\n[xml]\noutput = made/coverage.xml\n"
    )
    Path("made").mkdir()
    found = run("--cov", "--cov-report=xml", "--cov-report=html:made/html")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "FAIL: total coverage of 71.43% is less than the required 90%" in found.text
    assert measured_files(Path("made/data")) == {"src/demo/__init__.py"}
    assert re.search(r'filename="(src/)?demo/__init__.py"', Path("made/coverage.xml").read_text())
    assert Path("made/html/index.html").is_file()
    assert not Path(".coverage").exists()
    assert "TOTAL" not in found.text


def test_options_of_the_configuration_and_workers_of_xdist(
    run: Callable[..., RunOutput], pytester: pytest.Pytester
) -> None:
    """With options in the configuration, and earlier data that is kept."""
    make_project(pytester.path)
    ini = '[tool.pytest.ini_options]\naddopts = "--cov demo --cov-report term-missing --cov-branch --cov-append"\n'
    Path("pyproject.toml").write_text(PROJECT + ini)
    Path("tests/test_more.py").write_text("import demo.unused\ndef test_more():\n    assert demo.unused.never() == 2\n")
    complete = re.compile(r"^src/demo/unused.py +3 +0 +0 +0 +100%", re.MULTILINE)
    found = run("-n2")
    assert found.code == 0, found.text
    assert complete.search(found.text), found.text
    assert found.text.count("TOTAL") == 1
    Path("tests/test_more.py").unlink()
    found = run("--cov-fail-under=70")
    assert found.code == 0, found.text
    assert complete.search(found.text), found.text


def test_a_worker_that_dies_loses_little(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    make_project(pytester.path)
    Path("tests/test_demo.py").write_text(
        f"{TESTS}def test_dies():\n    import os\n    os._exit(3)\ndef test_after():\n    pass\n"
    )
    found = run("--cov=demo", "--cov-report=term-missing")
    assert found.only("FAILED") == ["tests/test_demo.py::test_dies"]
    # The first test was saved before the second one ended the worker.
    assert missing(found.text) == HERE
    assert "a worker ended early, so what its last tests covered is not counted" in found.text


def test_what_cannot_be_reported_is_an_error(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    make_project(pytester.path)
    found = run("--cov=tests/nowhere", "--cov-report=term")
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "ERROR: coverage cannot be reported: no file of the source tree was measured" in found.text


def test_files_that_only_the_wheel_has(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    """A generated module has no source, and its path would be gone after the run."""
    make_project(pytester.path)
    files = {"demo/__init__.py": WHERE, "demo/unused.py": UNUSED, "demo/_version.py": "version = 1\n"}
    build_wheel(pytester.path / "dist", "demo", files=files)
    found = run("--cov=demo", "--cov-report=term-missing")
    assert missing(found.text) == HERE
    assert "coverage: not in the source tree, so left out: demo/_version.py" in found.text
    assert not any("_version" in name for name in measured_files(Path(".coverage")))


def test_a_wheel_of_another_project(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    """Its installed files are reported."""
    make_project(pytester.path)
    shutil.rmtree("src")
    found = run("--cov=demo", "--cov-report=term-missing")
    assert found.code == 0, found.text
    assert re.search(r"site-packages/demo/__init__.py +7 +2 +71% +4, 6$", found.text, re.MULTILINE)


@pytest.mark.long
@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="emulates on x86-64 Linux")
def test_native_emulated_and_windows_in_one_table(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    """Each kind of target runs another line, and no line is left."""
    make_project(
        pytester.path, *(f"py3-none-{tag}" for tag in ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "win_amd64"))
    )
    found = run("--wheel-python=auto", "--cov=src", "--cov-report=term-missing", "--wheel-strict", timeout=900)
    assert set(found.nodes.values()) == {"PASSED"}, found.text
    for end in ("-linux-x86_64::", "-linux-aarch64::", "-win_amd64+wine::"):
        assert f"{end}tests/test_demo.py::test_where PASSED" in found.text
    assert missing(found.text) == {"demo/__init__.py": "", "demo/unused.py": "1-3"}
    source = pytester.path / "src/demo"
    assert measured_files(Path(".coverage")) == {str(source / "__init__.py"), str(source / "unused.py")}


def test_a_board(board_run: BoardRun, board: Board) -> None:
    board_run.use(board)
    make_project(board_run.path)
    found = board_run.go("--cov=demo", "--cov-report=term-missing", "tests")
    assert found.code == 0, found.text
    assert missing(found.text) == HERE
    assert measured_files(board_run.path / ".coverage") == {
        str(board_run.path / "src/demo" / name) for name in ("__init__.py", "unused.py")
    }


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["tests"], None),
        (["--cov", "--no-cov"], None),
        (["--cov=a", "--cov-reset"], None),
        (["--cov", "a", "tests"], Coverage(sources=("a",))),
        (["--cov=a", "--cov"], Coverage()),
        (["--cov=a", "--cov=b/c"], Coverage(sources=("a", "b/c"))),
        (["--cov="], Coverage(sources=("",))),
        (["--cov", "--cov-report="], Coverage(reports=())),
        (
            ["--cov", "--cov-report", "xml:a.xml", "--cov-report=term"],
            Coverage(reports=(("xml", "a.xml"), ("term", ""))),
        ),
        (["--cov", "--cov-branch", "--cov-context=test"], Coverage(options=("--cov-branch", "--cov-context=test"))),
        (["--cov", "--cov-fail-under=9.5", "--cov-precision", "2"], Coverage(fail_under=9.5, precision=2)),
    ],
)
def test_options(args: list[str], expected: Coverage | None) -> None:
    line = divide(args, {})
    assert coverage_options.read(line.coverage) == expected
    assert not any("cov" in text for text in line.host)
    assert [argument.argv for argument in line.target] == ([("tests",)] if "tests" in args else [])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (".coveragerc", "[run]\nsource = a, b\n", ["a", "b"]),
        (".coveragerc", "[report]\nomit = x\n", []),
        ("setup.cfg", "[coverage:run]\nsource_pkgs =\n  a\n  b\n", ["a", "b"]),
        ("tox.ini", "[coverage:run]\nbranch = true\n", []),
        ("pyproject.toml", "[tool.coverage.run]\nsource = ['a']\nsource_dirs = ['b']\n", ["a", "b"]),
        ("pyproject.toml", "[tool.coverage", []),
    ],
)
def test_configured_sources(name: str, text: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert configured(tmp_path, "") == expected
    (tmp_path / name).rename(tmp_path / f"own{Path(name).suffix}")
    assert configured(tmp_path, f"own{Path(name).suffix}") == expected
