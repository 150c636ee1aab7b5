"""The printed ids of static checks and of checks of the release: they select, and need no target."""

from __future__ import annotations

import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.plugin.arguments import need_no_target

EXPECT = "--wheel-expect=cp312: win_amd64"


@pytest.fixture
def run(pytester: pytest.Pytester, run_wheels: Run) -> Run:
    (pytester.path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    build_wheel(pytester.path / "dist", "demo", "1.0", {"demo/__init__.py": ""}, tags=("cp312-cp312-win_amd64",))
    build_wheel(pytester.path / "dist", "other", "1.0", {"other/__init__.py": ""})

    def run(*args: str) -> pytest.RunResult:
        return run_wheels("-v", f"--wheel-python={pytester.path / 'no-python'}", *args)

    return run


@pytest.mark.parametrize("flag", [(), ("--wheel",)])
def test_a_static_check_runs_again_without_a_target(run: Run, flag: tuple[str, ...]) -> None:
    """The interpreter does not exist, which the plan of a target reports."""
    given = () if flag else ("--wheel=dist",)
    result = run(*given, *flag, "dist/other-1.0-py3-none-any.whl::WHL101-zip")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes().get("deselected", 0))
    assert "no-python" not in result.stdout.str()


def test_a_check_of_the_release_runs_again_after_the_wheels(run: Run) -> None:
    result = run("--wheel=dist", EXPECT, "release::expect")
    assert result.ret == 1
    assert "release::expect FAILED" in result.stdout.str()
    assert "no-python" not in result.stdout.str()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--wheel", "release::expect"], "after the wheels, as in `pytest --wheel dist release::expect`"),
        (["--wheel", "dist", "release::expect"], "it needs expected wheels: pass --wheel-expect"),
        (["--wheel", "dist", "release::previous"], "pass --wheel-expect previous"),
    ],
)
def test_a_check_of_the_release_that_is_not_there_says_what_it_needs(run: Run, args: list[str], message: str) -> None:
    result = run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("node_id", "expected"),
    [
        ("dist/a.whl::WHL605-architecture", True),
        ("pypi:a==1/a.whl::WHL605-architecture", True),
        ("pypi:a==1::WHL605-architecture", True),
        ("dist/a.whl::open", True),
        ("release::previous", True),
        ("dist/a.whl::cp312-linux-x86_64", False),
        ("dist/a.whl::cp312-linux-x86_64::import[a]", False),
        ("dist/a.whl::cp312-linux-x86_64::tests/WHL1.py::WHL101", False),
        ("dist/a.whl::", False),
    ],
)
def test_which_node_ids_need_no_target(node_id: str, expected: bool) -> None:
    assert need_no_target([node_id]) is expected
    assert not need_no_target([node_id, "dist/a.whl::cp312-linux-x86_64"])
    assert not need_no_target([])
