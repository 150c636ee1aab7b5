"""The command `wheelcheck`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import COMMAND

WHEEL = "pkg-1.0-py3-none-any.whl"
ARGS = ("-p", "no:cacheprovider", f"--wheel-python={sys.executable}", "--wheel-select=WHL101,WHL201", "-rA")


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """A wheel, and tests that write a file if the host imports them."""
    build_wheel(pytester.path / "dist", "pkg", files={"pkg.py": "X = 1\n"})
    pytester.makeini("[pytest]\naddopts = --own=3 -p no:randomly\ntestpaths = tests\n")
    pytester.makeconftest(
        f"import sys\nopen('imported', 'a').write(sys.prefix + '\\n')\nassert sys.prefix != {sys.prefix!r}\n\n"
        "def pytest_addoption(parser):\n    parser.addoption('--own')\n"
    )
    (pytester.mkdir("tests") / "test_it.py").write_text(
        "import pkg\n\ndef test_it(request):\n    assert request.config.option.own == '3'\n\n"
        "def test_fails():\n    assert pkg.X == 2\n",
        encoding="utf-8",
    )
    return pytester.path


def test_the_table_of_checks(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = pytester.run(COMMAND, "checks")
    assert listed.ret == 0
    codes = [line.split()[0] for line in listed.outlines]
    assert "WHL101" in codes
    assert len(set(codes)) == len(codes)
    explained = pytester.run(sys.executable, "-m", "pytest_wheelcheck", "checks", "WHL1", codes[-1])
    assert explained.ret == 0
    assert len([line for line in explained.outlines if line.startswith("  fix: ")]) == 1 + sum(
        code.startswith("WHL1") for code in codes
    )
    # Characters that the encoding of the output lacks are escaped.
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    plain = pytester.run(sys.executable, "-m", "pytest_wheelcheck", "checks", "WHL2")
    assert plain.ret == 0
    assert "\\u2026" in plain.stdout.str()
    wrong = pytester.run(COMMAND, "checks", "WHAT9")
    assert wrong.ret == 4
    assert "WHAT9" in wrong.stderr.str()
    assert "Traceback" not in wrong.stderr.str()


def test_a_run_has_the_outcomes_of_pytest(project: Path, pytester: pytest.Pytester) -> None:
    """The node ids and outcomes are the same with `--wheel`, with bare wheels, and with a pasted node id."""
    plain = pytester.run(sys.executable, "-m", "pytest", "--wheel=dist", *ARGS)
    ids = [line for line in plain.outlines if line.startswith(("PASSED ", "FAILED "))]
    assert plain.ret == pytest.ExitCode.TESTS_FAILED
    assert len(ids) == 2 + 2 + 2
    for command in (
        (COMMAND, "test", "--wheel=dist"),
        (sys.executable, "-m", "pytest_wheelcheck", "test", f"dist/{WHEEL}"),
    ):
        result = pytester.run(*command, *ARGS)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert [line for line in result.outlines if line.startswith(("PASSED ", "FAILED "))] == ids
        assert "Warning" not in result.stdout.str() + result.stderr.str()
    node_id = next(line for line in ids if line.endswith("test_it")).removeprefix("PASSED ")
    result = pytester.run(COMMAND, "test", node_id, *ARGS)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1)


def test_wrong_invocations(project: Path, pytester: pytest.Pytester) -> None:
    """All exit with status 4, and import nothing."""
    for args, message in (
        ((), "no wheel given"),
        (("tests",), "no wheel given"),
        (("--wheel=nowhere",), "there is no such file"),
        ((f"dist/{WHEEL}", "--wheel-jobs=0"), "--wheel-jobs 0"),
        ((f"dist/{WHEEL}", "-c", "none.ini"), "none.ini"),
        ((f"dist/{WHEEL}", "--rootdir=none"), "none"),
        ((f"dist/{WHEEL}", "--pdb"), "--pdb cannot be used"),
    ):
        result = pytester.run(COMMAND, "test", *args)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, args
        assert message in result.stderr.str()
        assert "Traceback" not in result.stderr.str()
    assert not (project / "imported").exists()
    help_text = pytester.run(COMMAND, "test", "--help").stdout.str()
    assert "--wheel-python" in help_text
    assert "--wheel-strict" in help_text


def test_without_other_plugins(project: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """If pytest does not load installed plugins, the command still loads its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.run(COMMAND, "test", f"dist/{WHEEL}", "--wheel-static", "-rA", "--wheel-select=WHL101")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"PASSED dist/{WHEEL}::WHL101-zip"])


def test_the_table_of_machines(pytester: pytest.Pytester) -> None:
    """The table names the machines that no QEMU can emulate."""
    listed = pytester.run(COMMAND, "machines")
    assert listed.ret == 0
    listed.stdout.fnmatch_lines(
        ["rpi5 *16 KiB*", "*needs QEMU with *cortex-a76* and pages of 16 KiB (before 9.0)", "x86-64-v4*"]
    )
    listed.stdout.fnmatch_lines(["*could not be checked: QEMU does not emulate AVX-512"])
    rows = json.loads(pytester.run(COMMAND, "machines", "--json").stdout.str())
    assert all(row["source"] and row["hardware"] for row in rows)
    assert {row["name"] for row in rows if row["impossible"]} == {"x86-64-v4"}
