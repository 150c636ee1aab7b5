"""The scripts of the distribution, in an environment of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import configured_uv
import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.network
def test_both_scripts_start_from_a_wheel_in_an_environment_of_their_own(tmp_path: Path) -> None:
    """As `uvx pytest-wheelcheck` starts it, without a name of a script; and as `uv tool run --from`."""
    uv = [sys.executable, "-m", "uv"]
    env = configured_uv.environment()
    subprocess.run([*uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT], check=True, timeout=300, env=env)
    (wheel,) = tmp_path.glob("*.whl")
    for command in ([str(wheel)], ["--from", str(wheel), "wheelcheck"]):
        argv = [*uv, "tool", "run", "--isolated", "--python", sys.executable, *command]
        shown = subprocess.run([*argv, "--version"], check=True, capture_output=True, text=True, timeout=300, env=env)
        assert shown.stdout.startswith("pytest-wheelcheck ")
    helped = subprocess.run([*argv, "try", "--help"], check=True, capture_output=True, text=True, timeout=300, env=env)
    assert helped.stdout.startswith("usage: wheelcheck try")
