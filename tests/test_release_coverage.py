"""Checks of the release as a whole, reports, and the command that merges reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import build_wheel
from checks.objects import make_elf, make_pe
from nodes import Run

from pytest_wheelcheck.cli.main import main


def windows(directory: Path, minor: int, **more: Any) -> Path:
    module = make_pe(exports=("PyInit__native",), needed=(f"python3{minor}.dll", "KERNEL32.dll"))
    files: dict[str, bytes | str] = {
        "pkg/__init__.py": "",
        "pkg/py.typed": "",
        f"pkg/_native.cp3{minor}-win_amd64.pyd": module,
    }
    return build_wheel(directory, "pkg", files=files, tags=(f"cp3{minor}-cp3{minor}-win_amd64",), **more)


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    pytester.makeini("[pytest]\n")
    windows(pytester.path / "dist", 12)
    windows(pytester.path / "dist", 13)
    return pytester.path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_missing_and_unexpected_wheels_are_a_failed_node(root: Path, run_wheels: Run) -> None:
    spec = "cp312 cp314: win_amd64; sdist"
    result = run_wheels("--wheel=dist", "--wheel-static", "--wheel-select=WHL1", f"--wheel-expect={spec}")
    result.stdout.fnmatch_lines([
        "the release does not match the expected wheels: 2 missing, 1 unexpected",
        "missing: cp314 on win_amd64",
        "missing: the sdist",
        "unexpected: pkg-1.0-cp313-cp313-win_amd64.whl (cp313 on win_amd64)",
        "platform * interpreter * built * checked",
        "win_amd64 * cp312 * yes * passed",
        " * cp314 * missing * -",
        "FAILED release::expect - the release does not match the expected wheels*",
    ])  # fmt: skip
    assert result.ret == 1


def test_the_ini_key_and_a_pasted_node(root: Path, pytester: pytest.Pytester, run_wheels: Run) -> None:
    pytester.makeini("[pytest]\nwheel_expect =\n    cp312-cp313: win_amd64\n    sdist\n")
    (root / "dist" / "pkg-1.0.tar.gz").touch()
    result = run_wheels("--wheel=dist", "--wheel-static", "--wheel-select=WHL1", "-v", "release::expect")
    result.stdout.fnmatch_lines(["release::expect PASSED*"])
    assert result.parseoutcomes()["passed"] == 1
    assert result.ret == 0


def test_the_option_replaces_the_ini_key(root: Path, pytester: pytest.Pytester, run_wheels: Run) -> None:
    pytester.makeini("[pytest]\nwheel_expect =\n    cp39: any\n")
    args = ("--wheel=dist", "--wheel-static", "--wheel-select=WHL1")
    assert run_wheels(*args).ret == 1
    assert run_wheels(*args, "--wheel-expect=cp312: win_amd64", "--wheel-expect=cp313: win_amd64").ret == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--wheel-expect=cp312"], "*'cp312' is not of the form*"),
        (["--wheel-report=out.txt"], "*the extension does not select a report format*"),
        (["-o", "wheel_max_size=big"], "*wheel_max_size = big is not a size*"),
    ],
)
def test_wrong_values_are_usage_errors(root: Path, run_wheels: Run, args: list[str], message: str) -> None:
    result = run_wheels("--wheel=dist", *args)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])


def test_classifiers_are_compared_with_the_covered_interpreters(root: Path, run_wheels: Run) -> None:
    extra = "Classifier: Programming Language :: Python :: 3.11"
    windows(root / "dist", 12, metadata_extra=extra, requires_python=">=3.11")
    result = run_wheels("--wheel=dist", "--wheel-static", "--wheel-select=WHL1", "-W", "always")
    result.stdout.fnmatch_lines(["release::pythons", "*the classifiers name 3.11, but there is no wheel"])
    assert result.ret == 0
    alone = run_wheels("--wheel", "dist/pkg-1.0-cp312-cp312-win_amd64.whl", "--wheel-static", "--wheel-select=WHL1")
    alone.stdout.no_fnmatch_line("release*")


def test_the_maximum_size_is_set_in_the_ini_file(root: Path, pytester: pytest.Pytester, run_wheels: Run) -> None:
    args = ("--wheel=dist", "--wheel-static", "--wheel-select=WHL807")
    run_wheels(*args).stdout.no_fnmatch_line("*WHL807: *")
    pytester.makeini("[pytest]\nwheel_max_size = 1kB\n")
    run_wheels(*args).stdout.fnmatch_lines(["*WHL807: the wheel has 0.0 MB, more than 0.0 MB*"])


def test_a_check_that_is_impossible_here_is_a_skipped_node(
    root: Path, pytester: pytest.Pytester, run_wheels: Run
) -> None:
    # Only this process has another platform. The parser process is never started.
    plugin = "import sys\n\ndef pytest_configure(config):\n"
    plugin += "    sys.modules['pytest_wheelcheck.checks.parser_client'].sys = Other\n"
    plugin += "\nclass Other:\n    platform = 'win32'\n    executable, path = sys.executable, sys.path\n"
    pytester.makepyfile(other=f"import pytest_wheelcheck.checks.parser_client\n{plugin}")
    tags = ("cp312-cp312-manylinux_2_17_x86_64",)
    module = make_elf(exports=("PyInit__native",))
    files: dict[str, bytes | str] = {
        "pkg/__init__.py": "",
        "pkg/py.typed": "",
        "pkg/_native.cpython-312-x86_64-linux-gnu.so": module,
    }
    build_wheel(root / "linux", "pkg", files=files, tags=tags)
    result = run_wheels("-p", "other", "--wheel=linux", "--wheel-static", "--wheel-select=WHL301", "-rs", "-v")
    result.stdout.fnmatch_lines(
        ["*::WHL301-* SKIPPED*", "SKIPPED*needs auditwheel, which cannot be installed on Windows*"]
    )
    assert result.ret == 0


@pytest.mark.parametrize("parallel", [(), ("-n", "2")])
def test_reports_hold_every_outcome(root: Path, run_wheels: Run, parallel: tuple[str, ...]) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/__pycache__/x.pyc": "",
    }
    build_wheel(root / "pure", "pkg", files=files)
    tests = root / "tests"
    tests.mkdir()
    (tests / "test_it.py").write_text(
        "import pytest\n\ndef test_good():\n    pass\n\ndef test_bad():\n    assert 1 == 2\n\n"
        "@pytest.mark.xfail\ndef test_x():\n    assert 0\n\n@pytest.mark.skip(reason='why')\ndef test_s():\n    pass\n",
        encoding="utf-8",
    )
    reports = [f"--wheel-report=out/report.{ending}" for ending in ("json", "md", "html")]
    result = run_wheels("--wheel=pure", "tests", *reports, *parallel)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["any * py3 * yes * passed, 1 warning * 1 failed, 2 passed (cp3*)", "report: out?report.json"]
    )
    data = read(root / "out" / "report.json")
    assert data["complete"] is True
    (wheel,) = data["wheels"]
    assert {check["outcome"] for check in wheel["checks"]} == {"passed"}
    assert sum(len(check["warnings"]) for check in wheel["checks"]) == 1
    (target,) = wheel["targets"]
    outcomes = {node["name"].rpartition("::")[2]: node["outcome"] for node in target["results"]}
    assert outcomes.items() >= {"install": "passed", "import[pkg]": "passed"}.items()
    assert {name: outcomes[name] for name in ("test_good", "test_bad", "test_x", "test_s")} == {
        "test_good": "passed", "test_bad": "failed", "test_x": "xfailed", "test_s": "skipped",
    }  # fmt: skip
    assert (target["execution"], target["machine"]) == ("native", "")
    assert next(node["text"] for node in target["results"] if node["outcome"] == "skipped") == "why"
    for ending in ("md", "html"):
        assert "1 failed, 2 passed" in (root / "out" / f"report.{ending}").read_text(encoding="utf-8")


def test_the_report_of_an_interrupted_run_says_so(root: Path, run_wheels: Run) -> None:
    build_wheel(root / "pure", "pkg", files={"pkg/__init__.py": "", "tests/__init__.py": ""}, tags=("py2-none-any",))
    (root / "pure" / "x-1-py3-none-any.whl").write_bytes(b"no zip")
    result = run_wheels("--wheel=pure", "--wheel-static", "-x", "--wheel-report=r.json", "--wheel-report=r.md")
    assert result.ret == 1
    data = read(root / "r.json")
    assert data["complete"] is False
    assert "interrupted" in (root / "r.md").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_an_error(root: Path, run_wheels: Run) -> None:
    (root / "file").touch()
    result = run_wheels("--wheel=dist", "--wheel-static", "--wheel-select=WHL1", "--wheel-report=file/r.json")
    assert result.ret not in {0, 1}
    assert "the file cannot be written" in result.stderr.str() + result.stdout.str()


def test_merging(
    root: Path, run_wheels: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    for minor in (12, 13):
        wheel = f"dist/pkg-1.0-cp3{minor}-cp3{minor}-win_amd64.whl"
        run_wheels("--wheel", wheel, "--wheel-static", "--wheel-select=WHL1,WHL5", f"--wheel-report={minor}.json")
    capsys.readouterr()
    both = ["merge", "12.json", "13.json"]
    assert main([*both, "--wheel-report=all.json", "--wheel-report=all.html"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[:3] for line in out.splitlines()][1:3] == [
        ["win_amd64", "cp312", "yes"],
        ["cp313", "yes", "passed"],
    ]
    assert [wheel["filename"] for wheel in read(root / "all.json")["wheels"]] == [
        "pkg-1.0-cp312-cp312-win_amd64.whl", "pkg-1.0-cp313-cp313-win_amd64.whl",
    ]  # fmt: skip
    assert main([*both, "--wheel-strict"]) == 1
    assert "not run anywhere" in capsys.readouterr().out
    assert main(["merge", "12.json", "--wheel-expect=cp312-cp313: win_amd64"]) == 1
    assert "missing: cp313 on win_amd64" in capsys.readouterr().out
    assert main([*both, "--wheel-expect=cp312-cp313: win_amd64"]) == 0
    assert main(["merge", "all.json", "--wheel-expect=cp312-cp313: win_amd64"]) == 0


@pytest.mark.parametrize("args", [["missing.json"], ["no.json"], ["no.json", "--wheel-report=x.pdf"]])
def test_invalid_reports_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    assert main(["merge", *args]) == 4
    assert capsys.readouterr().err.startswith("wheelcheck: ")


def test_a_report_of_another_format_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.json").write_text('{"format": "pytest-wheelcheck", "format_version": 1}', encoding="utf-8")
    assert main(["merge", "old.json"]) == 4
    assert capsys.readouterr().err == (
        "wheelcheck: old.json has format version 1; this version of pytest-wheelcheck reads versions 2 to 3\n"
        "Fix: write the report again with this version of pytest-wheelcheck\n"
    )
