"""The JUnit report has the diagnosis of a step; it has no sections, where the terminal shows it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from builders import build_wheel
from nodes import Run


@pytest.mark.parametrize("words", [(), ("-n2",)], ids=["one-process", "xdist"])
def test_failures_of_steps_have_cause_and_fix(
    words: tuple[str, ...], pytester: pytest.Pytester, run_wheels: Run
) -> None:
    build_wheel(
        pytester.path / "dist", "bad", files={"bad.py": "import not_declared\n"}, tags=["py3-none-linux_x86_64"]
    )
    build_wheel(pytester.path / "dist", "old", files={"old.py": ""}, requires_python=">=3.99")
    build_wheel(pytester.path / "dist", "fine", files={"fine.py": ""})
    pytester.makepyfile(test_a="def test_a():\n    import not_there\n")
    run_wheels(*words, "--wheel=dist", "--wheel-select=WHL302", "--junit-xml=j.xml")
    failures = {
        str(case.get("name")): (found.get("message") or "", found.text or "")
        for case in ET.parse(pytester.path / "j.xml").iter("testcase")
        for found in case.findall("failure")
    }
    assert failures.keys() == {"WHL302-bare-linux", "install", "import[bad]", "test_a"}
    for name in failures.keys() - {"test_a"}:
        message, text = failures[name]
        assert text.startswith(f"{message}\n"), (name, message, text)
        assert "\nFix: " in text
        assert "\nWhy it matters: " in text or "\nCause: " in text
    _, text = failures["import[bad]"]
    assert text.index("\nFix: ") < text.index("\n>   import not_declared\n")
    assert text.count("\nCause: ") == 1
    # Those of tests are as pytest writes them.
    assert failures["test_a"][1].splitlines()[0] == "def test_a():"
