"""Mistyped commands and directories: each answer says what was probably meant."""

from __future__ import annotations

import pytest
from builders import build_wheel
from nodes import COMMAND


@pytest.fixture(autouse=True)
def _dist(pytester: pytest.Pytester) -> None:
    build_wheel(pytester.path / "dist", "demo", "1.0", {"demo/__init__.py": ""})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["doctor", "dsit"], "dsit: no architecture, and there is no such file\nFix: did you mean dist?"),
        (["doctor", "aarch46"], "aarch46: unknown architecture\nFix: did you mean aarch64?"),
        ([], "write a configuration and a CI workflow"),
    ],
)
def test_mistyped_arguments_of_the_command(pytester: pytest.Pytester, args: list[str], message: str) -> None:
    result = pytester.run(COMMAND, *args)
    assert result.ret == 4
    assert message in result.stderr.str()


@pytest.mark.parametrize(("typed", "meant"), [("docotr", "doctor"), ("tset", "test")])
def test_a_mistyped_command_has_a_suggestion(pytester: pytest.Pytester, typed: str, meant: str) -> None:
    """Since Python 3.14, it is that of argparse."""
    result = pytester.run(COMMAND, typed)
    assert result.ret == 4
    assert any(text in result.stderr.str() for text in (f"did you mean {meant}?", f"maybe you meant '{meant}'?"))


def test_the_help_of_the_command_test_names_the_command(pytester: pytest.Pytester) -> None:
    assert "usage: wheelcheck test " in pytester.run(COMMAND, "test", "--help").stdout.str()


def test_a_directory_of_wheels_without_the_option_has_a_hint(pytester: pytest.Pytester) -> None:
    (pytester.path / "empty").mkdir()
    result = pytester.runpytest_subprocess("dist")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "dist has wheels: `pytest --wheel dist` tests them" in result.stdout.str()
    assert "has wheels" not in pytester.runpytest_subprocess("empty").stdout.str()
    (pytester.path / "dist").rename(pytester.path / "my wheels")
    result = pytester.runpytest_subprocess("my wheels")
    assert "my wheels has wheels: `pytest --wheel 'my wheels'` tests them" in result.stdout.str()


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("WHL3x", "did you mean WHL3.. or WHL3.. or WHL3.., or all of WHL3. `wheelcheck checks` lists all codes"),
        ("whl2", "did you mean WHL2.. or WHL2.. or WHL2.., or all of WHL2. `wheelcheck checks` lists all codes"),
        ("WHK101", "did you mean WHL101 or WHL... or WHL.... `wheelcheck checks` lists all codes"),
    ],
)
def test_a_mistyped_code_of_a_check_has_suggestions_of_its_family(
    pytester: pytest.Pytester, typed: str, fix: str
) -> None:
    result = pytester.run(COMMAND, "checks", typed)
    assert result.ret == 4
    result.stderr.re_match_lines([f"Fix: {fix}"])
