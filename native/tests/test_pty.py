"""Pseudo-terminals that Rust opens."""

from __future__ import annotations

import errno
import sys

import pytest
import wheelcheck_witness

pytestmark = [
    pytest.mark.pty,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind"),
]


@pytest.mark.parametrize(
    "text",
    ["", "plain", "Grüße, 世界 🦀", "\r\n\t\n", "\x00\x01\x03\x04\x7f", "x" * 20_000],
    ids=["empty", "ascii", "utf-8", "line-ends", "control", "more-than-the-queue"],
)
def test_pty_round_trip(text):
    assert wheelcheck_witness.pty_round_trip(text) == text


@pytest.mark.parametrize("size", [(24, 80), (1, 1), (65535, 65535), (0, 0)], ids=str)
def test_pty_size(size):
    assert wheelcheck_witness.pty_size(*size) == size


@pytest.mark.parametrize("size", [(-1, 80), (24, 65536)], ids=str)
def test_pty_size_out_of_range(size):
    with pytest.raises(OverflowError):
        wheelcheck_witness.pty_size(*size)


def test_pty_spawn_gives_the_program_a_terminal():
    code = "import os; print([os.isatty(fd) for fd in range(3)], os.getsid(0) == os.tcgetpgrp(0))"
    # An emulator may have printed a warning before.
    assert wheelcheck_witness.pty_spawn([sys.executable, "-c", code]).endswith("[True, True, True] True\r\n")


def test_pty_spawn_returns_all_output():
    code = "print('x' * 100_000); raise SystemExit(3)"
    assert wheelcheck_witness.pty_spawn([sys.executable, "-c", code]).endswith("x" * 100_000 + "\r\n")


def test_pty_spawn_ends_a_program_at_the_timeout():
    with pytest.raises(TimeoutError) as caught:
        wheelcheck_witness.pty_spawn([sys.executable, "-c", "import time; time.sleep(600)"], timeout=0.2)
    assert caught.value.errno == errno.ETIMEDOUT


def test_pty_spawn_without_the_program():
    with pytest.raises(FileNotFoundError) as caught:
        wheelcheck_witness.pty_spawn(["no-such-program-anywhere"])
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("argv", "timeout"),
    [([], 1.0), (["nul\0inside"], 1.0), (["true"], -1.0), (["true"], float("nan"))],
    ids=["no-program", "nul", "negative", "nan"],
)
def test_pty_spawn_refuses_bad_arguments(argv, timeout):
    with pytest.raises(ValueError, match=r".+"):
        wheelcheck_witness.pty_spawn(argv, timeout)
