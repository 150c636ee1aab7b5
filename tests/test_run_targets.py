"""The interpreters that a run selects for each wheel, and the messages if there is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run
from packaging.tags import platform_tags

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
CPYTHON = f"cp{sys.version_info[0]}{sys.version_info[1]}"
HERE = next(iter(platform_tags()))
ARGS = ("--wheel=dist", "--wheel-select=WHL201", "-rA", "--tb=line")

pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="the tags here are CPython's")


def make(directory: Path, name: str, *tags: str) -> str:
    pure = all(tag.endswith("-any") for tag in tags)
    return build_wheel(directory / "dist", name, files={f"{name}/__init__.py": ""}, tags=tags, purelib=pure).name


@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
def test_a_wheel_that_cannot_run_is_one_node_with_the_reason(
    pytester: pytest.Pytester, run_wheels: Run, *, strict: bool
) -> None:
    """It is skipped, and fails under `--wheel-strict`."""
    mac = make(pytester.path, "mac", "cp311-cp311-macosx_11_0_arm64")
    new = make(pytester.path, "new", f"cp399-cp399-{HERE}")
    result = run_wheels(*ARGS, "--wheel-python=auto", *(["--wheel-strict"] if strict else []))
    reasons = (r"*needs macOS*", f"*needs CPython 3.99, but only *{MINOR}* found*")
    if strict:
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.assert_outcomes(passed=2, failed=2)
        result.stdout.fnmatch_lines_random([f"{reason}--wheel-strict*" for reason in reasons])
        result.stdout.fnmatch_lines_random([f"FAILED dist/{mac}::cp311-macosx-arm64*", f"FAILED dist/{new}::cp399-*"])
    else:
        assert result.ret == pytest.ExitCode.OK
        result.assert_outcomes(passed=2, skipped=2)
        result.stdout.fnmatch_lines_random([f"SKIPPED * {reason}" for reason in reasons])
        result.stdout.fnmatch_lines(
            [
                f"dist/{mac}",
                "  not run: needs macOS",
                "  1 static check passed",
                f"dist/{new}",
                "  not run: needs CPython*",
            ]
        )


def test_a_part_that_cannot_run_does_not_fail_a_wheel_that_ran(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """`--wheel-strict` requires one target of each wheel, not all."""
    fat = make(pytester.path, "fat", f"py3-none-{HERE}", "py3-none-macosx_11_0_arm64")
    result = run_wheels(*ARGS, "--wheel-strict", f"--wheel-python={MINOR}")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"PASSED dist/{fat}::{CPYTHON}-*::import?fat?", "SKIPPED *needs macOS*"])


@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
def test_requested_interpreters_that_an_abi3_wheel_is_not_for(
    pytester: pytest.Pytester, run_wheels: Run, *, strict: bool
) -> None:
    """Each is a node with the reason. Under `--wheel-strict` the run fails: nothing was run where it was requested."""
    wheel = make(pytester.path, "stable", f"{CPYTHON}-abi3-{HERE}")
    requested = f"--wheel-python={MINOR},3.14t,3.8,pypy3.11"
    result = run_wheels(*ARGS, requested, "--wheel-report=r.json", *(["--wheel-strict"] if strict else []))
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.OK)
    result.assert_outcomes(passed=3, **({"failed": 3} if strict else {"skipped": 3}))
    (found,) = json.loads(Path("r.json").read_text(encoding="utf-8"))["wheels"]
    assert found["filename"] == wheel
    (target,) = found["targets"]
    assert target["interpreter"] == CPYTHON
    assert {node["name"]: node["outcome"] for node in target["results"]} == {
        "install": "passed",
        "import[stable]": "passed",
    }
    needs = f"needs CPython {MINOR} or newer, but"
    added = " (--wheel-strict: requested, and no wheel was run on it)" if strict else ""
    platform = target["name"].partition("-")[2]
    assert {node["name"]: (node["outcome"], node["reason"]) for node in found["not_run"]} == {
        f"{name}-{platform}": ("failed" if strict else "skipped", f"{needs} {why}{added}")
        for name, why in (
            ("cp314t", "a free-threaded CPython 3.14 (cp314t) was requested: abi3 is not for free-threaded CPython"),
            ("cp38", "CPython 3.8 was requested"),
            ("pp311", "PyPy 3.11 was requested: abi3 is for CPython only"),
        )
    }


def test_strict_requires_one_wheel_for_each_requested_interpreter(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """A release has a wheel for each version, and each is not for the other versions."""
    make(pytester.path, "own", f"{CPYTHON}-{CPYTHON}-{HERE}")
    make(pytester.path, "anything", "py3-none-any")
    before = f"3.{sys.version_info[1] - 1}"
    result = run_wheels(*ARGS, f"--wheel-python={before},{MINOR}", "--wheel-strict")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=2 + 3 * 2, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED * needs CPython {MINOR}, but CPython {before} was requested"])


def test_requested_interpreters(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """By version and by path. An interpreter is one target, also if it is named several times."""
    any_ = make(pytester.path, "anything", "py3-none-any")
    own = make(pytester.path, "own", f"{CPYTHON}-{CPYTHON}-{HERE}")
    other = make(pytester.path, "other", f"cp38-cp38-{HERE}")
    (pytester.path / "test_it.py").write_text(
        f"import sys\n\ndef test_it():\n    assert sys.version_info[:2] == {tuple(sys.version_info[:2])!r}\n",
        encoding="utf-8",
    )
    result = run_wheels(*ARGS, f"--wheel-python={MINOR},{sys.executable}", f"--wheel-python={MINOR}", "test_it.py")
    result.assert_outcomes(passed=3 + 2 * 3, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            f"PASSED dist/{any_}::{CPYTHON}-*::test_it.py::test_it",
            f"PASSED dist/{own}::{CPYTHON}-*::test_it.py::test_it",
            f"SKIPPED * needs CPython 3.8, but CPython {MINOR}*was requested",
        ]
    )
    assert f"PASSED dist/{other}::WHL201" in result.stdout.str()


def test_a_requested_interpreter_that_is_not_available_is_an_error(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """A skip would hide that nothing was tested. The available interpreters are tested."""
    make(pytester.path, "anything", "py3-none-any")
    result = run_wheels(*ARGS, f"--wheel-python={MINOR},3.99")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines_random(["*CPython 3.99 was requested, but only * found*", "ERROR *::cp399-*"])
    result = run_wheels(*ARGS, "--wheel-python=/no/such/python3")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*/no/such/python3*"])
    result = run_wheels(*ARGS, "--wheel-python=snake")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--wheel-python snake*", "*auto, all, versions*"])


def test_oldest_and_newest_are_the_default(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """`auto` selects the oldest and the newest interpreter that a wheel supports, `all` selects all."""
    before, after = (f"3.{sys.version_info[1] + step}" for step in (-1, 1))
    build_wheel(pytester.path / "dist", "some", files={"some.py": ""}, requires_python=f">={before},<={after}.99")
    # An assembled interpreter may be passed over for an older one.
    words = (*ARGS[:2], "--wheel-providers=host,uv,debian", "--collect-only", "-q", "-k", "install")
    chosen = {}
    for spec in ("auto", "all"):
        result = run_wheels(*words, f"--wheel-python={spec}")
        chosen[spec] = [line.split("::")[1] for line in result.outlines if line.endswith("::install")]
    plain = [name for name in chosen["all"] if name.startswith("cp") and "t-" not in name]
    assert any(name.startswith(f"{CPYTHON}-") for name in plain)
    assert chosen["auto"] == list(dict.fromkeys((plain[0], plain[-1])))


def test_arguments_that_no_target_checks_are_named(
    run_wheels: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    build_wheel(pytester.path / "dist", "demo", "1.0", {"demo.py": ""}, tags=["cp311-cp311-macosx_11_0_arm64"])
    result = run_wheels("--wheel=dist", "--rnslow", "tests/nowhere.py", "--wheel-ignore=WHL")
    result.stdout.fnmatch_lines(["not checked: --rnslow, tests/nowhere.py: no target can run this wheel"])


def test_a_dependency_without_a_wheel_for_the_newest_interpreter(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """If the user named no interpreter, the newest one that the dependencies have wheels for is used."""
    before = f"3.{sys.version_info[1] - 1}"
    build_wheel(
        pytester.path / "dist",
        "some",
        files={"some.py": "import old"},
        requires=["old"],
        requires_python=f">={before},<={MINOR}.99",
    )
    tag = f"cp{before.replace('.', '')}-none-any"
    build_wheel(pytester.path / "links", "old", files={"old.py": ""}, tags=[tag])
    links = ("--wheel-find-links=links", "--wheel-offline")
    result = run_wheels(*ARGS, *links, "--wheel-python=auto")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(
        [f"SKIPPED * CPython {before} is used instead of CPython {MINOR}: the dependency old has no wheel for this*"]
    )
    # By name, it is an error, and not a failure of the wheel.
    result = run_wheels(*ARGS, *links, f"--wheel-python={MINOR}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*could not be checked: dist/some-*cannot be installed", "Cause: the dependency old has no wheel for this*"]
    )


def test_a_dependency_that_does_not_exist_is_a_failure_of_the_wheel(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """No interpreter is passed over for it."""
    build_wheel(pytester.path / "dist", "some", files={"some.py": ""}, requires=["old>=2"])
    build_wheel(pytester.path / "links", "old", files={"old.py": ""})
    result = run_wheels(*ARGS, "--wheel-find-links=links", "--wheel-offline", f"--wheel-python={MINOR}")
    result.assert_outcomes(passed=1, failed=1)
    result = run_wheels(*ARGS, "--wheel-find-links=links", "--wheel-offline", "--wheel-python=auto")
    assert "is used instead" not in result.stdout.str()
    assert result.parseoutcomes()["failed"] >= 1


@pytest.mark.network
@pytest.mark.skipif(
    sys.platform != "linux", reason="kills its processes; a missing interpreter is downloaded for Linux"
)
@pytest.mark.parametrize(
    ("lost", "outcomes"),
    [
        ("os.getpid()", {"import[some]": "failed", "import[other]": "passed"}),
        ("0", {"import[some]": "failed", "import[other]": "passed"}),
        # Without the worker, nothing is known about any of them.
        ("os.getppid()", {"import": "error", "import[some]": "error", "import[other]": "error"}),
    ],
    ids=["import", "group", "worker"],
)
def test_a_target_that_loses_its_processes_leaves_the_others(
    pytester: pytest.Pytester, run_wheels: Run, lost: str, outcomes: dict[str, str]
) -> None:
    """Two interpreters are prepared at the same time; on one of them, an import kills what imports it."""
    before = f"3.{sys.version_info[1] - 1}"
    code = f"import os, sys\nif sys.version_info[:2] != {tuple(sys.version_info[:2])!r}:\n    os.kill({lost}, 9)\n"
    build_wheel(pytester.path / "dist", "some", files={"some/__init__.py": code, "other.py": ""})
    (pytester.path / "test_it.py").write_text("import other\ndef test_it(): pass\n", encoding="utf-8")
    found = run_wheels(
        *ARGS, f"--wheel-python={before},{MINOR}", "--wheel-jobs=2", "--wheel-report=r.json", "test_it.py"
    )
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    (wheel,) = json.loads(Path("r.json").read_text(encoding="utf-8"))["wheels"]
    first, second = ({node["name"]: node for node in target["results"]} for target in wheel["targets"])
    others = ("install", "import[some]", "import[other]", "test_it.py::test_it")
    assert {name: node["outcome"] for name, node in second.items()} == dict.fromkeys(others, "passed")
    assert {name: node["outcome"] for name, node in first.items()} == dict.fromkeys(others, "passed") | outcomes
    assert "killed by SIGKILL" in first["import[some]"]["text"]
