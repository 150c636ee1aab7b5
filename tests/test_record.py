"""The recorded session shows what the commands print, and nothing of the machine."""

from __future__ import annotations

import html
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

import record

PICTURE = Path(record.__file__).with_name("session.svg")


def shown(svg: str) -> str:
    """Return the text of a picture, line by line."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        row = rows.setdefault(float(element.attrib["y"]), [])
        row.append((float(element.attrib["x"]), html.unescape(element.text or "")))
    lines = ("".join(text for _, text in sorted(row)) for _, row in sorted(rows.items()))
    return "\n".join(lines).replace("\xa0", " ")


def verify(text: str) -> None:
    for command in record.COMMANDS:
        assert f"${command}" in re.sub(r"\$ +", "$", text)
    assert "1 passed" in text
    assert "ModuleNotFoundError: No module named 'greet.words'" in text
    assert re.search(r"^any +py3 +yes +passed, 1 warning +1 failed \(cp3\d+\)", text, re.MULTILINE)
    assert "1 failed, 51 passed, 1 warning" in text
    # Paths, times and sequences of the terminal.
    assert not re.search(r"(?<![\w:-])/\w|\d\.\d+s\b|\x1b|wheelcheck-\w{8}", text)


def test_a_new_recording() -> None:
    svg = record.picture(record.session())
    verify(shown(svg))
    # Nothing is loaded from elsewhere.
    assert set(re.findall(r"https?://[^\"')\s]*", svg)) == {"http://www.w3.org/2000/svg"}


def test_the_picture_of_the_documentation() -> None:
    verify(shown(PICTURE.read_text(encoding="utf-8")))


def test_what_differs_from_machine_to_machine_is_left_out() -> None:
    text = (
        "50%\r\x1b[K  cp311  2 passed  (/usr/bin/python3.11 (pyenv))\r\n../../wheelcheck-ab12/0/env/lib: in 1.25s\r\n"
    )
    assert record.clean(text) == "  cp311  2 passed\nwheelcheck-env/lib:"
