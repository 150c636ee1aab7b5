"""The values of `--wheel`: files, directories, globs; their paths; their names in node ids."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run

WINDOWS = sys.platform == "win32"

#: Arguments that list nodes without an installation.
NAMES = ("--wheel-static", "--wheel-select=WHL201", "--collect-only", "-q")
CHECK = "WHL201-file-name"
TARGETS = "*.whl::cp3*-*::"


def make(directory: Path, name: str, body: str = "") -> Path:
    return build_wheel(directory, name, files={f"{name}/__init__.py": body})


def collected(result: pytest.RunResult) -> list[str]:
    """Return the node ids that `--collect-only -q` printed, in their order."""
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    return [line for line in result.outlines if "::" in line]


def checked(*wheels: str) -> list[str]:
    return [f"{wheel}::{CHECK}" for wheel in wheels]


A, B, C = (f"{name}-1.0-py3-none-any.whl" for name in ("aa", "bb", "cc"))


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    """A project with three wheels and an sdist in `dist`."""
    for name in ("aa", "bb", "cc"):
        make(pytester.path / "dist", name)
    (pytester.path / "dist" / "aa-1.0.tar.gz").write_bytes(b"")
    pytester.makeini("[pytest]\n")
    pytester.mkdir("tests").joinpath("test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    return pytester.path


# --- forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param([f"--wheel=dist/{B}"], [B], id="file"),
        pytest.param(["--wheel", "dist"], [A, B, C], id="directory"),
        pytest.param(["--wheel", "dist/"], [A, B, C], id="directory-slash"),
        pytest.param(["--wheel=dist/[ab]*.whl"], [A, B], id="glob"),
        pytest.param(["--wheel=**/cc*.whl"], [C], id="glob-of-directories"),
        pytest.param([f"--wheel=dist/{C}", "tests", f"--wheel=dist/{A}"], [C, A], id="repeated"),
        pytest.param(["--wheel", f"dist/{A}", f"dist/{B}", f"dist/{C}", "tests/"], [A, B, C], id="expanded"),
        pytest.param(["tests", "--wheel", f"dist/{A}", f"dist/{B}", "-x"], [A, B], id="expanded-after-tests"),
        pytest.param([f"dist/{B}", "--wheel=dist/cc*"], [C, B], id="expanded-first"),
        pytest.param(["--wheel=dist", f"--wheel=dist/../dist/{B}", f"dist/{A}"], [A, B, C], id="twice-is-once"),
        *([pytest.param([r"--wheel=dist\[ab]*.whl", rf"dist\{C}"], [A, B, C], id="backslashes")] if WINDOWS else []),
    ],
)
def test_forms_of_the_option(root: Path, run_wheels: Run, args: list[str], expected: list[str]) -> None:
    assert collected(run_wheels(*args, *NAMES)) == checked(*(f"dist/{name}" for name in expected))


def test_option_in_addopts_and_environment(root: Path, run_wheels: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "pytest.ini").write_text(f"[pytest]\naddopts = --wheel=dist/{A} -p no:doctest\n", encoding="utf-8")
    assert collected(run_wheels(*NAMES)) == checked(f"dist/{A}")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--wheel=dist/{B}")
    assert sorted(collected(run_wheels(*NAMES))) == checked(f"dist/{A}", f"dist/{B}")
    (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    assert collected(run_wheels(*NAMES)) == checked(f"dist/{B}")


def test_other_files_of_a_directory_are_named_and_not_tested(root: Path, run_wheels: Run) -> None:
    result = run_wheels("--wheel=dist", *NAMES[:3])
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"wheel: dist/{A}*", f"wheel: dist/{B}*", f"wheel: dist/{C}*", "not tested, not a wheel: aa-1.0.tar.gz"]
    )


def test_without_the_option_nothing_changes(root: Path, pytester: pytest.Pytester) -> None:
    """Tests run on the host, and only hooks and options are imported; on Windows also the rules for pseudo-terminals."""
    (root / "conftest.py").write_text(
        "import sys\n\ndef pytest_unconfigure():\n"
        "    print('imported', *sorted(name for name in sys.modules if name.startswith('pytest_wheelcheck')))\n",
        encoding="utf-8",
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "tests")
    result.assert_outcomes(passed=1)
    names = ["backends", "backends.command_line", "declarations", "plugin", "plugin.hooks", "plugin.options"]
    names += ["plugin.local", "worker", "worker.facts", "worker.rules"] if WINDOWS else []
    result.stdout.fnmatch_lines([" pytest_wheelcheck.".join(["imported pytest_wheelcheck", *sorted(names)])])


def test_a_run_of_the_static_checks_alone_loads_nothing_that_runs_programs(
    root: Path, pytester: pytest.Pytester
) -> None:
    """Providers, backends and what runs in targets are half of the package, and are not needed."""
    code = (
        "import pytest, sys\n"
        "status = pytest.main(['-p', 'no:cacheprovider', '--wheel', 'dist', '--wheel-static'])\n"
        "print('imported', *sorted(name for name in sys.modules if name.startswith('pytest_wheelcheck.')))\n"
        "sys.exit(status)\n"
    )
    result = pytester.run(sys.executable, "-c", code)
    assert result.ret == 0
    imported = next(line for line in result.outlines if line.startswith("imported")).split()[1:]
    assert "pytest_wheelcheck.checks.table" in imported
    parts = ("backends.catalog", "backends.registry", "targets.preparing.prepare", "targets.running.run")
    modules = {f"pytest_wheelcheck.{name}" for name in parts}
    assert all(importlib.util.find_spec(name) for name in modules)
    assert not modules.intersection(imported)
    assert not [name for name in imported if name.startswith("pytest_wheelcheck.interpreters.directory")]


# --- usage errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param(["--wheel=dist/zz*.whl"], ["dist/zz*.whl", "{root}{sep}dist", A], id="glob"),
        pytest.param(
            ["--wheel=nowhere/*.whl"], ["nowhere/*.whl", "{root}{sep}nowhere", "does not exist"], id="no-directory"
        ),
        pytest.param(["--wheel=dist/zz.whl"], ["dist/zz.whl", "no such file", "{root}{sep}dist", A], id="file"),
        pytest.param(["--wheel=dist", "gone/*.whl"], ["gone/*.whl", "{root}{sep}gone"], id="expanded-to-nothing"),
        pytest.param(
            ["--wheel=tests"], ["tests", "{root}{sep}tests has no wheels; it contains test_it.py"], id="directory"
        ),
        pytest.param(["--wheel=empty"], ["empty", "{root}{sep}empty has no wheels; it is empty"], id="empty-directory"),
        pytest.param(["--wheel=dist/*"], ["aa-1.0.tar.gz", "not a .whl"], id="sdist-in-glob"),
        pytest.param(["--wheel=dist/aa-1.0.tar.gz"], ["aa-1.0.tar.gz", "not a .whl"], id="sdist"),
        pytest.param(["--wheel"], ["--wheel", "argument"], id="no-value"),
        pytest.param(["--wheel="], ["--wheel", "empty"], id="empty-value"),
    ],
)
def test_nothing_to_test_is_a_usage_error(root: Path, run_wheels: Run, args: list[str], expected: list[str]) -> None:
    (root / "empty").mkdir()
    result = run_wheels(*NAMES[:2], *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = result.stderr.str()
    assert "Traceback" not in message
    for text in expected:
        assert text.format(root=root, sep=os.sep) in message


# --- paths ----------------------------------------------------------------------------------------------------------


#: Windows has no quotation marks in names.
QUOTES = "quote'" if WINDOWS else "quote'\""


@pytest.mark.parametrize(
    "directory", ["with space", "ünï → 日本", "br[a]ckets [1]", f"semi;colon{QUOTES}", "per%20cent$HOME"]
)
def test_odd_directories(root: Path, run_wheels: Run, pytester: pytest.Pytester, directory: str) -> None:
    make(root / directory, "odd")
    odd = "odd-1.0-py3-none-any.whl"
    assert collected(run_wheels(f"--wheel={directory}/{odd}", *NAMES)) == checked(f"{directory}/{odd}")
    pytester.chdir()
    os.chdir(root / directory)
    Path("pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    assert collected(run_wheels("--wheel=o*.whl", "--wheel=.", f"--wheel={root / directory}", *NAMES)) == checked(odd)


def test_an_odd_directory_is_installed_and_tested(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """The paths of environment, tests and wheel have spaces and other special characters."""
    directory = pytester.mkdir("a b ü [1] %s")
    make(directory / "d i s t", "odd", "X = 1\n")
    (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (directory / "test_ü.py").write_text("import odd\n\ndef test_it():\n    assert odd.X == 1\n", encoding="utf-8")
    os.chdir(directory)
    result = run_wheels("--wheel=d i s t/*.whl", "test_ü.py", "--wheel-select=WHL201", "-rA")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["PASSED d i s t/odd-1.0-py3-none-any.whl::cp3*-*::test_ü.py::test_it"])


def test_wheels_outside_the_project(root: Path, run_wheels: Run) -> None:
    """They have different node ids, and change neither the root directory nor the ini file."""
    project = root / "project"
    (project / "sub").mkdir(parents=True)
    (project / "pytest.ini").write_text("[pytest]\nwheel_select = WHL101\n", encoding="utf-8")
    first, second = make(root / "out1", "same"), make(root / "out2", "same", "# another\n")
    os.chdir(project / "sub")
    (project / "sub" / "test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    name = first.name
    given = (f"--wheel={first}", f"--wheel=../../out2/{name}")
    result = run_wheels(*given, "--wheel-static", "--collect-only", "-v")
    result.stdout.fnmatch_lines([f"rootdir: {project}", "configfile: pytest.ini", "*collected 2 items"])
    result.stdout.no_fnmatch_line("*rewritten*")
    ids = collected(run_wheels(*given, "--wheel-static", "--collect-only", "-q"))
    assert ids == [f"../out1/{name}::WHL101-zip", f"../out2/{name}::WHL101-zip"]
    # The ini file of another project, and an option that only that project has, do not apply to its wheel.
    (root / "out1" / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\nminversion = 7\n", encoding="utf-8")
    (root / "out2" / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\naddopts = '--wheel=x'\n", encoding="utf-8"
    )
    for wheel in (first, second):
        assert len(collected(run_wheels(f"--wheel={wheel}", "--wheel-static", "--collect-only", "-q"))) == 1


@pytest.mark.skipif(WINDOWS, reason="Windows resolves .. before links, and needs a privilege to create them")
def test_links_are_followed_and_named_as_given(root: Path, run_wheels: Run) -> None:
    """`..` after a link is the parent of the link's target; a wheel and a link to it are one wheel."""
    away = root / "away" / "deep"
    away.mkdir(parents=True)
    make(root / "away", "ll")
    (root / "jump").symlink_to(away)
    (root / "latest").symlink_to(root / "dist")
    (root / "dist" / "zz-2.0-py3-none-any.whl").symlink_to(A)
    assert collected(run_wheels(f"--wheel=latest/{B}", *NAMES)) == checked(f"latest/{B}")
    assert collected(run_wheels("--wheel=dist/[az]*.whl", "--wheel=latest", *NAMES)) == checked(
        *(f"dist/{A}",), *(f"latest/{name}" for name in (B, C))
    )
    name = "ll-1.0-py3-none-any.whl"
    for given in (f"jump/../{name}", "jump/../*.whl", "jump/.."):
        assert collected(run_wheels(f"--wheel={given}", *NAMES)) == checked(f"away/{name}")


def test_home_is_expanded(root: Path, run_wheels: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell does not expand the tilde of `--wheel=~/…`."""
    monkeypatch.setenv("USERPROFILE" if WINDOWS else "HOME", str(root / "dist"))
    assert collected(run_wheels(f"--wheel=~/{A}", f"--wheel=~/{B[:2]}*.whl", *NAMES)) == checked(
        f"dist/{A}", f"dist/{B}"
    )


# --- each file is read once -----------------------------------------------------------------------------------------

#: Runs on the host before the installation, and changes the files as a build in the background would.
MEDDLER = """
import pathlib

def pytest_report_header():
    pathlib.Path("dist/aa-1.0-py3-none-any.whl").unlink(missing_ok=True)
    sound = pathlib.Path("dist/bb-1.0-py3-none-any.whl")
    if sound.stat().st_size > 20:
        pathlib.Path("dist/zz-1.0-py3-none-any.whl").write_bytes(sound.read_bytes())
        sound.write_bytes(b"half of a file")
"""


def test_later_changes_of_the_file_have_no_effect(root: Path, run_wheels: Run) -> None:
    make(root / "dist", "aa", "X = 'first'\n")
    (root / "pytest.ini").write_text("[pytest]\npythonpath = away\n", encoding="utf-8")
    (root / "away").mkdir()
    (root / "away" / "meddler.py").write_text(MEDDLER, encoding="utf-8")
    (root / "tests" / "test_it.py").write_text(
        "import aa\n\ndef test_it():\n    assert aa.X == 'first'\n", encoding="utf-8"
    )
    bad = "zz-1.0-py3-none-any.whl"
    (root / "dist" / bad).write_bytes(b"not a zip archive")
    args = ("-p", "meddler", "--wheel-select=WHL101,WHL201,WHL125", "-rA", "--tb=line", "tests")
    result = run_wheels(f"--wheel=dist/{A}", f"--wheel=dist/{B}", f"--wheel=dist/{bad}", *args)
    assert not (root / "dist" / A).exists()
    assert (root / "dist" / B).read_bytes() == b"half of a file"
    lines = [f"PASSED dist/{wheel}::{check}" for wheel in (A, B) for check in ("WHL101-zip", "WHL125-record-hashes")]
    lines += [f"PASSED dist/{A}::cp3*-*::tests/test_it.py::test_it", f"PASSED dist/{B}::cp3*-*::import?bb?"]
    lines += [f"FAILED dist/{bad}::WHL101-zip*"]
    result.stdout.fnmatch_lines_random(lines)


# --- broken wheels and selection ------------------------------------------------------------------------------------


def test_a_broken_wheel_fails_while_others_run(root: Path, run_wheels: Run) -> None:
    broken = "broken-1.0-py3-none-any.whl"
    (root / "dist" / broken).write_bytes(b"not a zip archive")
    misnamed = (root / "dist" / A).rename(root / "dist" / "misnamed.whl").name
    result = run_wheels(
        f"--wheel=dist/{B}",
        f"--wheel=dist/{broken}",
        f"--wheel=dist/{misnamed}",
        "--wheel-select=WHL201",
        "-rA",
        "tests",
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines_random(
        [
            f"dist/{broken} is not safe to open: the file has no ZIP end record",
            f"dist/{misnamed} is not named like a wheel: *",
            f"FAILED dist/{broken}::open - *",
            f"FAILED dist/{misnamed}::open - *",
            f"PASSED dist/{B}::cp3*-*::install",
            f"PASSED dist/{B}::cp3*-*::tests/test_it.py::test_it",
        ]
    )
    assert "INTERNALERROR" not in result.stdout.str()
    missing = run_wheels(f"--wheel=dist/{broken}", "--wheel-static", "--wheel-strict")
    assert missing.ret == pytest.ExitCode.TESTS_FAILED


def test_a_pasted_node_id_selects_its_nodes(root: Path, run_wheels: Run) -> None:
    """It may name a test, a parametrized test, a class, a module, an import, a target, a check or a wheel."""
    (root / "tests" / "test_it.py").write_text(TREE, encoding="utf-8")
    (root / "tests" / "test_other.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    args = ("--wheel-select=WHL101,WHL201", "--collect-only", "-q")
    every = collected(run_wheels(f"--wheel=dist/{A}", *args, "tests"))
    assert len(every) == 2 + 2 + 6
    target = every[2].rpartition("::")[0]
    module = f"{target}::tests/test_it.py"

    single = [every[0], every[2], f"{module}::test_it", f"{module}::test_many[a::b]", f"{module}::TestIt::test_it"]
    assert set(single) <= set(every)
    assert collected(run_wheels("--wheel=dist", *args, *single)) == single
    assert collected(run_wheels(f"--wheel={target}", f"{module}::test_many", *args)) == every[2:]
    many = [f"{module}::test_many[{value}]" for value in ("a::b", "x y")]
    assert collected(run_wheels(*args, "--wheel", every[1], f"{module}::test_many")) == [every[1], *many]
    for wrong in (f"{module}::test_no_such", f"dist/{A}::WHL9", f"{target}::imp"):
        result = run_wheels("--wheel=dist", *args[:2], "--wheel-static", wrong)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert wrong in result.stderr.str()


TREE = """
import pytest

def test_it():
    pass

@pytest.mark.parametrize("value", ["a::b", "x y"])
def test_many(value):
    pass

def test_item():
    pass

class TestIt:
    def test_it(self):
        pass
"""
