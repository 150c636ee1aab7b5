"""WHL603 on whole wheels whose tag names an interpreter and no ABI, as maturin wrote it until 2024."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.samples import windows
from checks.test_rules import messages


@pytest.mark.parametrize(
    ("tag", "suffix", "is_valid"),
    [
        ("cp311-none-win_amd64", ".cp311-win_amd64.pyd", True),
        ("cp311-none-win_amd64", ".pyd", True),
        ("cp311-none-win_amd64", ".cp312-win_amd64.pyd", False),
        ("cp311-none-win_amd64", ".cp311-win32.pyd", False),
        ("cp311-none-win_amd64", ".cp311t-win_amd64.pyd", False),
        ("cp311-none-win32", ".cp311-win32.pyd", True),
    ],
)
def test_suffixes_in_wheels_for_one_interpreter_without_an_abi(
    tmp_path: Path, tag: str, suffix: str, is_valid: bool
) -> None:
    path = windows(tmp_path / "dist", tag=tag, suffix=suffix, needed=("python311.dll",))
    found = messages(path, tmp_path, "WHL603")
    assert (found == []) == is_valid
    assert all(f"pkg/_native{suffix}" in message for message in found)
