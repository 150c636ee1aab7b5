"""The tables at the end of a run: counts of tests apart from checks, the release matrix, and what -q shows."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunDist, run_output
from test_targets import LINUX, Fake, a_wheel, an_offer, catalog

from pytest_wheelcheck.cli.main import main
from pytest_wheelcheck.interpreters.base import Offer, Starter
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.reporting.counts import count_outcomes
from pytest_wheelcheck.system import progress
from pytest_wheelcheck.targets.planning import plan

TESTS = """
import pytest
def test_one(): pass
def test_two(): pass
def test_skipped(): pytest.skip("no")
"""

PLATFORMS = (
    "manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "musllinux_1_2_x86_64", "musllinux_1_2_aarch64", "macosx_11_0_arm64",
    "macosx_10_9_x86_64", "win_amd64", "win32",
)  # fmt: skip
ABIS = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp313t", "cp314", "cp314t")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    (pytester.path / "test_it.py").write_text(TESTS)
    return pytester


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([(True, "passed")] * 82 + [(True, "skipped")] + [(False, "passed")] * 5, "82 tests passed, 1 skipped; 5 checks passed"),
        ([(True, "passed"), (True, "failed")], "1 test failed, 1 passed"),
        ([(True, "error"), (False, "passed")], "1 test with an error; 1 check passed"),
        ([(False, "error")] * 2, "2 checks with errors"),
        ([(True, "xfailed"), (True, "xpassed")], "1 test xfailed, 1 xpassed"),
        ([], "nothing was run"),
    ],
)  # fmt: skip
def test_counts(results: list[tuple[bool, str]], expected: str) -> None:
    assert count_outcomes(results) == expected


def test_tests_are_counted_apart_from_checks(project: pytest.Pytester, run_dist: RunDist) -> None:
    found = run_dist("test_it.py", "--wheel-report=out.md", "--wheel-report=out.html")
    assert re.search(r"^  cp\S+  2 tests passed, 1 skipped; 2 checks passed  \(", found.text, re.MULTILINE), found.text
    assert "\n  1 static check passed\n" in found.text
    for name in ("out.md", "out.html"):
        text = (project.path / name).read_text(encoding="utf-8")
        assert "2 tests passed, 1 skipped; 2 checks passed" in text
        assert "Release matrix" in text
        assert "Coverage" not in text
    assert re.search(r"^=+ release matrix =+$", found.text, re.MULTILINE)


def test_failed_checks_are_not_failed_tests_in_the_matrix(project: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(project.path / "dist", "demo", files={"demo.py": "", "other.py": "import absent\n"})
    found = run_dist("test_it.py")
    assert re.search(r"^any +py3 .* 2 passed, 1 check failed", found.text, re.MULTILINE), found.text


def test_quiet_runs_show_one_line_for_each_target(project: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(project.path / "dist", "mac", files={"mac.py": ""}, tags=["cp311-cp311-macosx_11_0_arm64"])
    arguments = ("--wheel=dist", "--wheel-select=WHL101", "test_it.py")
    text = run_output(run_wheels(*arguments, "-q")).text
    lines = [line for line in text.splitlines() if line.startswith("dist/") and "%]" not in line]
    assert len(lines) == 2, text
    assert re.fullmatch(
        r"dist/demo-1\.0-py3-none-any\.whl::cp\S+  2 tests passed, 1 skipped; 2 checks passed(  \(pytest .*\))?",
        lines[0],
    )
    assert lines[1].startswith(
        "dist/mac-1.0-cp311-cp311-macosx_11_0_arm64.whl::cp311-macosx-arm64  not run: needs macOS"
    )
    assert "release matrix" not in text
    assert "= wheels =" not in text
    text = run_output(run_wheels(*arguments, "-qq")).text
    assert "checks passed" not in text
    assert "::cp" not in text


def test_quiet_static_runs_show_one_line_for_each_wheel(project: pytest.Pytester, run_wheels: Run) -> None:
    text = run_output(run_wheels("--wheel=dist", "--wheel-select=WHL101", "--wheel-static", "-q")).text
    assert "\ndist/demo-1.0-py3-none-any.whl  1 static check passed\n" in text


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["", "xdist"])
def test_another_version_of_pytest_is_shown(
    project: pytest.Pytester, run_dist: RunDist, workers: tuple[str, ...]
) -> None:
    other = "8.4.1" if pytest.__version__ != "8.4.1" else "8.4.2"
    found = run_dist("test_it.py", f"--wheel-requires=pytest=={other}", *workers)
    assert re.search(rf"^  cp\S+  2 tests passed.*; pytest {re.escape(other)}\)$", found.text, re.MULTILINE), found.text


def test_the_same_version_of_pytest_is_not_shown(project: pytest.Pytester, run_dist: RunDist) -> None:
    found = run_dist("test_it.py", f"--wheel-requires=pytest=={pytest.__version__}")
    assert not re.search(r"\bpytest \d[\d.]*\)$", found.text, re.MULTILINE), found.text


def test_the_header_names_what_runs_each_interpreter(project: pytest.Pytester, run_dist: RunDist) -> None:
    found = run_dist("test_it.py")
    assert re.search(r"^wheel: dist/demo-1\.0-py3-none-any\.whl \(cp\S+ \[native, host\]\)$", found.text, re.MULTILINE)


class Fetching(Fake):
    """A provider that fetches some of its interpreters."""

    def get(self, offer: Offer, starter: Starter) -> Installation:
        if offer.version[1] > 11:
            with progress.step(f"CPython {offer.version[1]}", Path(sys.prefix, "bin")):
                pass
        return super().get(offer, starter)


@pytest.mark.parametrize(("names", "told"), [(("3.11",), False), (("3.11", "3.12", "3.13"), True)])
def test_the_plan_is_told_before_the_first_download(names: tuple[str, ...], told: bool) -> None:
    provider = Fetching([an_offer(name) for name in names])
    stream = io.StringIO()
    with progress.log_to(stream):
        plan.plan([a_wheel("py3-none-any")], ["all"], catalog(provider), host=LINUX)
    lines = stream.getvalue().splitlines()
    expected = [f"wheelcheck: cp3{name[2:]}-linux-x86_64: a fake" for name in names]
    assert sorted(lines[: len(names)]) == (expected if told else [])
    assert sum("fetching" in line for line in lines[len(names) :]) == (2 if told else 0)
    assert [line for line in lines[len(names) :] if "a fake" in line] == []


def matrix(text: str) -> list[str]:
    """Return the lines of the release matrix."""
    lines = text.partition("release matrix")[2].splitlines()[1:]
    return lines[: next(index for index, line in enumerate(lines) if line.startswith("="))]


def build_many(directory: Path, number: int) -> None:
    """Build wheels for many interpreters and platforms."""
    tags = [f"{abi.removesuffix('t')}-{abi}-{platform}" for abi in ABIS for platform in PLATFORMS]
    for tag in tags[:number]:
        build_wheel(directory, "demo", files={"demo/__init__.py": ""}, tags=[tag])


@pytest.mark.parametrize(("number", "columns"), [(1, 80), (12, 80), (15, 80), (60, 80), (60, 40)])
def test_a_matrix_of_many_wheels_fits_the_terminal(
    pytester: pytest.Pytester, run_wheels: Run, monkeypatch: pytest.MonkeyPatch, number: int, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    build_many(pytester.path / "dist", number)
    result = run_wheels("--wheel=dist", "--wheel-select=WHL201", "--wheel-static")
    lines = matrix(result.stdout.str())
    if number <= 12:
        assert len(lines) == number + 1
        return
    assert max(map(len, lines)) <= columns, "\n".join(lines)
    assert lines[0].split()[:3] == ["platform", "cp39", "cp310"]
    assert lines[-1] == "c checked, not run"
    cells = [word for line in lines[:-1] for word in line.split()[1:] if len(word) == 1]
    assert cells == ["c"] * number
    if number == 60 and columns == 80:
        assert lines[0].split() == ["platform", *ABIS]
        assert len(lines) == len(PLATFORMS) + 2


def test_a_compact_matrix_names_failures_and_missing_wheels(
    pytester: pytest.Pytester, run_wheels: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    build_many(pytester.path / "dist", 15)
    abi = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""}, tags=["py3-none-any"])
    bad = pytester.path / "dist" / "demo-1.0-cp39-cp39-win32.whl"
    bad.write_bytes(bad.read_bytes()[:-1] + b"x")
    (pytester.path / "test_it.py").write_text(TESTS)
    result = run_wheels(
        *("--wheel=dist", "--wheel-select=WHL101", "--wheel-expect=others; cp399: win_amd64", "test_it.py"),
        "--wheel-report=out.json",
    )
    lines = matrix(result.stdout.str())
    signs = {line.split()[0]: line.split()[1:] for line in lines}
    assert signs["any"] == ["+"]
    assert "F failed, M missing, + tests passed, c checked, not run" in " ".join(lines)
    assert "win_amd64 cp399 missing" in lines
    assert "win32 cp39 checked: 2 failed" in lines
    assert all(len(line) <= 80 for line in lines)
    assert f"any {abi}" not in " ".join(lines)
    # The command has the same matrix.
    assert main(["merge", str(pytester.path / "out.json")]) == 1
    assert "win32 cp39 checked: 2 failed\n" in capsys.readouterr().out
