"""The exit statuses that docs/commands.md names."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.cli.main import main, make_parser


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--wheel=dist"], pytest.ExitCode.OK),
        (["--wheel=dist", "--wheel-python=3.8", "--wheel-strict"], pytest.ExitCode.TESTS_FAILED),
        (["--wheel=nowhere"], pytest.ExitCode.USAGE_ERROR),
        (["--wheel=dist", "-k", "no_such_node"], pytest.ExitCode.NO_TESTS_COLLECTED),
    ],
)
def test_a_run(pytester: pytest.Pytester, run_wheels: Run, arguments: Sequence[str], status: pytest.ExitCode) -> None:
    build_wheel(pytester.path / "dist", "pkg", requires_python=">=3.9", files={"pkg.py": ""})
    static = [] if "--wheel-strict" in arguments else ["--wheel-static"]
    assert run_wheels(*arguments, *static, "--wheel-select=WHL101").ret == status


def test_every_command_says_what_its_exit_status_is(capsys: pytest.CaptureFixture[str]) -> None:
    """In its help, from which the reference is generated: those that return another number than 0."""
    (commands,) = (action.choices for action in make_parser()._subparsers._group_actions)  # type: ignore[union-attr]
    assert isinstance(commands, dict)
    for name in ("try", "merge", "exec", "doctor", "board"):
        assert "xit status" in commands[name].format_help()
    for words in (["runtime", "install"], ["runtime", "path"], ["runtime", "remove"]):
        assert main([*words, "--help"]) == 0
        assert "Exit status 1 if" in " ".join(capsys.readouterr().out.split())
