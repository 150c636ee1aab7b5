"""WHL609 on macOS: a symbol that the linker bound to a library, and the same one in a flat lookup."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.samples import macos
from checks.test_rules import messages, run
from pytest_wheelcheck.model import Severity

CORE = "/System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation"
CXX = "/usr/lib/libc++.1.dylib"


@pytest.mark.parametrize("library", [CORE, CXX])
@pytest.mark.parametrize(
    ("symbol", "ordinal"),
    [
        ("CFRelease", 2),
        # The linker found it in the library, of which it has a list. That of another version of macOS may differ.
        ("lost", 1),
        ("lost", 2),
        # SELF_LIBRARY_ORDINAL and EXECUTABLE_ORDINAL.
        ("lost", 0x00),
        ("lost", 0xFF),
    ],
)
def test_only_a_flat_lookup_is_reported(tmp_path: Path, symbol: str, ordinal: int, library: str) -> None:
    """A bound symbol has the ordinal of its library, so the linker has answered the question."""
    needed = ("/usr/lib/libSystem.B.dylib", library)
    assert messages(macos(tmp_path / "bound", bound=[(symbol, ordinal)], needed=needed), tmp_path, "WHL609") == []
    wheel = macos(tmp_path / "both", bound=[(symbol, ordinal)], anywhere=["nowhere"], needed=needed)
    (message,) = messages(wheel, tmp_path, "WHL609")
    assert "nowhere" in message
    assert symbol not in message
    (result,) = run(macos(tmp_path / "flat", anywhere=[symbol], needed=needed), tmp_path, "WHL609")
    (finding,) = result.findings
    # A framework may export the symbols of other libraries.
    is_lost = symbol == "lost" and library == CXX
    assert finding.severity is (Severity.ERROR if is_lost else Severity.WARNING)
    assert symbol in finding.message
