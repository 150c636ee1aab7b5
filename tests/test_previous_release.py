"""``--wheel-expect previous``: a release compared with the previous one on the index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import build_wheel
from index_server import Index, serve
from nodes import Run, RunOutput, run_output
from packaging.tags import parse_tag
from test_report_schema import validate
from test_targets import a_wheel

from pytest_wheelcheck.reporting.previous import clauses
from pytest_wheelcheck.targets.planning.previous import PreviousRelease

NAME = "wheelcheck-no-such-project"
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "win_amd64")

Go = Callable[..., RunOutput]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index with a release of six wheels, a pre-release, and a later one that must not be taken."""
    with serve(tmp_path / "index") as index:
        for version in ("1.0", "1.1rc1", "3.0"):
            for python in ("cp311", "cp312"):
                for platform in PLATFORMS:
                    add(
                        index.directory,
                        version,
                        f"{python}-{python}-{platform}",
                        files={"pkg/old.py": "", "gone.py": ""},
                    )
        yield index


def add(directory: Path, version: str, tag: str, **more: object) -> Path:
    """Write a wheel with a module, an entry point and a dependency."""
    values: dict[str, object] = {
        "entry_points": "[console_scripts]\npkg-tool = pkg:main\n",
        "requires": ["six", "typing-extensions; python_version < '3.8'", "rich; extra == 'color'"],
        "extras": ["color"],
        "requires_python": ">=3.11",
        **more,
    }
    files = {"pkg/__init__.py": "", **values.pop("files", {})}  # type: ignore[dict-item]
    return build_wheel(directory, NAME, version, files, tags=(tag,), **values)  # type: ignore[arg-type]


@pytest.fixture
def go(run_wheels: Run, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    monkeypatch.setenv("WHEELCHECK_CACHE", str(tmp_path / "cache"))

    def run(*args: str) -> RunOutput:
        expected = () if any("--wheel-expect" in arg for arg in args) else ("--wheel-expect=previous",)
        options = ["--wheel-static", "--wheel-select=WHL101", f"--wheel-index={index.url}", "-v", "-rA"]
        return run_output(run_wheels("--wheel", "dist", *options, *expected, *args, timeout=120))

    return run


def test_a_release_that_lost_nothing(go: Go, pytester: pytest.Pytester) -> None:
    """New platforms and interpreters are welcome, and an sdist need not be there."""
    for python in ("cp311", "cp312", "cp313"):
        for platform in (*PLATFORMS, "musllinux_1_2_x86_64"):
            tag = f"{python}-{python}-{platform}"
            add(pytester.path / "dist", "2.0", tag, files={"pkg/old.py": "", "gone.py": "", "new.py": ""})
    found = go()
    assert found.code == 0, found.text
    assert "release::expect PASSED" in found.text
    assert "release::previous PASSED" in found.text
    assert "WheelWarning" not in found.text


def test_a_wheel_that_was_lost(go: Go, pytester: pytest.Pytester) -> None:
    for python in ("cp311", "cp312"):
        for platform in PLATFORMS:
            if (python, platform) != ("cp312", "win_amd64"):
                add(
                    pytester.path / "dist",
                    "2.0",
                    f"{python}-{python}-{platform}",
                    files={"pkg/old.py": "", "gone.py": ""},
                )
    found = go()
    assert found.code == 1
    assert "missing: cp312 on win_amd64, which pypi:wheelcheck-no-such-project==1.0 has\n" in found.text
    fix = (
        "Fix: build the missing wheels, or if they are left out on purpose, name the expected wheels in --wheel-expect"
    )
    assert fix in found.text
    assert "1 missing" in found.text
    # A clause of the user's own counts as well.
    both = go("--wheel-expect=previous; cp313: win_arm64").text
    assert "missing: cp313 on win_arm64\n" in both
    assert "missing: cp312 on win_amd64, which pypi:wheelcheck-no-such-project==1.0 has\n" in both
    assert "Fix: build the missing wheels, or correct the expected wheels (--wheel-expect, or the key expect)" in both


def test_a_version_that_requires_python_excludes_was_left_out_on_purpose(go: Go, pytester: pytest.Pytester) -> None:
    for platform in PLATFORMS:
        tag = f"cp312-cp312-{platform}"
        add(pytester.path / "dist", "2.0", tag, requires_python=">=3.12", files={"pkg/old.py": ""})
    found = go()
    assert found.code == 0, found.text
    assert "cp311" not in found.text.partition("warnings summary")[2]


def test_a_version_that_requires_python_still_admits_is_missing(
    go: Go, pytester: pytest.Pytester, index: Index
) -> None:
    """An installer takes the new release there and finds no wheel. In a part of a release, that is a warning only."""
    for platform in PLATFORMS:
        add(pytester.path / "dist", "2.0", f"cp312-cp312-{platform}", files={"pkg/old.py": "", "gone.py": ""})
    found = go()
    assert found.code == 1, found.text
    assert "release::expect FAILED" in found.text
    assert "missing: cp311 on win_amd64" in found.text
    for path in (pytester.path / "dist").iterdir():
        path.rename(index.directory / path.name)
    add(pytester.path / "dist", "2.0", "cp312-cp312-musllinux_1_2_x86_64", files={"pkg/old.py": "", "gone.py": ""})
    part = go("--wheel", f"pypi:{NAME}==2.0/*cp312*")
    assert part.code == 0, part.text
    assert f"no wheel is for cp311, which pypi:{NAME}==1.0 had wheels for" in part.text


@pytest.mark.parametrize(
    ("before", "now", "partial", "warns"),
    [
        ("pp311-pypy311_pp73-win_amd64", "cp311-cp311-win_amd64", False, True),
        ("cp313-cp313t-win_amd64", "cp313-cp313-win_amd64", False, True),
        ("cp311-cp311-win_amd64", "py3-none-any", False, True),
        ("cp311-cp311-win_amd64", "cp312-cp312-win_amd64", True, True),
        ("cp311-cp311-win_amd64", "cp312-cp312-win_amd64", False, False),
        ("cp311-cp311-win_amd64", "cp310-abi3-win_amd64", False, False),
        ("cp311-cp311-win_amd64", "py3-none-win_amd64", False, False),
    ],
)
def test_which_lost_interpreters_are_only_a_warning(before: str, now: str, partial: bool, warns: bool) -> None:
    previous = PreviousRelease(shown="pypi:pkg==1.0", wheels=(tuple(parse_tag(before)),), pairs=())
    expected, warnings = clauses([previous], [a_wheel(now)], partial=partial)
    assert bool(warnings) is warns
    interpreter = before.split("-")[1 if before.startswith("cp313") else 0]
    assert (f"{interpreter}: win_amd64" in expected) is not warns


def test_wheels_of_the_stable_abi_replace_others(go: Go, pytester: pytest.Pytester) -> None:
    for platform in PLATFORMS:
        add(pytester.path / "dist", "2.0", f"cp311-abi3-{platform}", files={"pkg/old.py": "", "gone.py": ""})
    assert go().code == 0


def test_contents_that_changed(go: Go, pytester: pytest.Pytester) -> None:
    dist = pytester.path / "dist"
    for python in ("cp311", "cp312"):
        for platform in PLATFORMS:
            add(
                dist,
                "2.0",
                f"{python}-{python}-{platform.replace('2_17', '2_28')}",
                files={"pkg/data.bin": os.urandom(20_000)},
                entry_points=None,
                requires=["rich; extra == 'color'"],
            )
    found = go("--wheel-report=r.json", "--wheel-report=r.html")
    assert found.code == 0, found.text
    for line in (
        "times as large: every wheel",
        "gone, pkg/old is gone: every wheel",
        "the entry point pkg-tool is gone: every wheel",
        "six, typing-extensions is not required any more: every wheel",
        "the tag for x86_64 was raised from manylinux_2_17 to manylinux_2_28, so older systems cannot install it: ",
    ):
        assert line in found.text, line
    data = validate((pytester.path / "r.json").read_text())
    (previous,) = data["previous"]
    assert (previous["release"], previous["project"]) == (f"pypi:{NAME}==1.0", NAME)
    assert len(previous["wheels"]) == 6
    for wheel in data["wheels"]:
        changes = wheel["changes"]
        assert changes["filename"] in previous["wheels"]
        assert {"pkg/old", "gone"} <= {name["name"] for name in changes["names"] if name["kind"] == "module"}
        assert changes["files"][0]["path"] == "pkg/data.bin"
        assert changes["files"][0]["size"] == 20_000
    page = (pytester.path / "r.html").read_text()
    assert "In all 6 wheels with a counterpart:" in page
    assert "entry point gone: pkg-tool" in page


def test_another_run_asks_no_index_for_a_report(go: Go, pytester: pytest.Pytester, index: Index) -> None:
    add(pytester.path / "dist", "2.0", "cp312-cp312-win_amd64")
    assert go("--wheel-expect=others", "--wheel-report=r.json", "--wheel-report=r.html").code == 0
    assert index.requests == []
    data = validate((pytester.path / "r.json").read_text())
    assert data["previous"] == []
    assert data["wheels"][0]["changes"] is None


def test_no_previous_release(go: Go, pytester: pytest.Pytester, index: Index) -> None:
    add(pytester.path / "dist", "0.9", "cp312-cp312-win_amd64")
    found = go()
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert f"the package index has no wheels of {NAME} before 0.9" in found.text
    found = go("--wheel-offline")
    assert "--wheel-expect previous: the package index cannot be asked with --wheel-offline" in found.text
    assert not any(path.startswith("/files/") for path in index.requests)
