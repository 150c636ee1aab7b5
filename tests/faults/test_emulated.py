"""The run itself is killed while tests of another architecture run behind an emulator."""

from __future__ import annotations

import time

import pytest
from ground import BOUND, Ground, wait_for

pytestmark = pytest.mark.network


def test_killed(arm: Ground) -> None:
    arm.write(
        test_busy="""
        import ctypes, pathlib
        def test_busy():
            pathlib.Path("busy").touch()
            ctypes.PyDLL(None).sleep(600)
        """
    )
    with arm.started() as process:
        wait_for((arm.path / "busy").exists, 120)
        process.kill()
        start = time.monotonic()
        wait_for(lambda: not arm.processes())
        assert time.monotonic() - start < BOUND
    arm.nothing_left(files=False)
