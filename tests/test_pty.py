"""Tests that need a pseudo-terminal are skipped with a reason on targets that have none."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from hypothesis import given
from hypothesis import strategies as st
from nodes import RunDist, RunOutput

from pytest_wheelcheck.worker.facts import local_facts
from pytest_wheelcheck.worker.rules import TargetRules, split_words

needs_ptys = pytest.mark.skipif(sys.platform == "win32", reason="needs a host that has pseudo-terminals")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_pty_resize", ["test", "pty", "resize"]),
        ("TestPtyThing", ["test", "pty", "thing"]),
        ("TestPTYThing", ["test", "pty", "thing"]),
        ("testPty", ["test", "pty"]),
        ("test_empty", ["test", "empty"]),
        ("TestEmptyty", ["test", "emptyty"]),
        ("test_pty.py", ["test", "pty", "py"]),
        ("PTY", ["pty"]),
        ("__pty__", ["pty"]),
        ("test2Pty", ["test2", "pty"]),
        ("", []),
    ],
)
def test_split_words(name: str, words: list[str]) -> None:
    assert split_words(name) == words


@given(st.lists(st.from_regex(r"[a-z][a-z0-9]{1,5}", fullmatch=True), min_size=1, max_size=5))
def test_joined_words_are_split_again(words: list[str]) -> None:
    assert split_words("_".join(words)) == words
    assert split_words("".join(word.capitalize() for word in words)) == words


@given(st.text(max_size=30))
def test_split_words_loses_no_character(name: str) -> None:
    assert "".join(split_words(name)) == "".join(char for char in name if char.isalnum()).lower() or any(
        len(char.lower()) != 1 or not char.lower().isalnum() for char in name
    )


MARKED = """
import os, sys
import pytest

@pytest.mark.pty
def test_marked(): os.openpty()

@pytest.mark.pty
class TestMarkedClass:
    def test_in_it(self): os.openpty()
    @pytest.mark.pty(False)
    def test_exempt(self): pass

def test_pty_resize(): os.openpty()
def test_empty(): pass
def test_cryptyc(): pass

class TestPtyThing:
    def test_one(self): os.openpty()
    @pytest.mark.pty(False)
    def test_conpty(self): pass

class TestEmpty:
    def test_two(self): pass

@pytest.mark.parametrize("name", ["pty", "no"])
def test_values(name): pass

@pytest.mark.pty(False)
def test_conpty_pty(): pass

@pytest.mark.wheel_target(system="win32", pty=False)
def test_there(wheel_target): assert wheel_target.system == "win32"

@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.pty), 2])
def test_some(n): pass
"""

FILES = {
    "tests/test_marks.py": MARKED,
    "tests/test_pty_file.py": "def test_whole_file(): pass\n",
    "tests/pty_folder/test_in_folder.py": "def test_folder(): pass\n",
    "tests/pty_package/__init__.py": "",
    "tests/pty_package/test_in_package.py": "def test_package(): pass\n",
    "tests/test_module_a.py": "import fcntl\ndef test_never(): pass\n",
    "tests/test_module_b.py": "import helper\ndef test_never(): pass\n",
    "tests/helper.py": "from termios import TCSANOW\n",
    "tests/test_module_c.py": "import uses\ndef test_never(): pass\n",
    "tests/test_module_d.py": "import not_there_at_all\ndef test_never(): pass\n",
    "tests/test_lazy.py": "import pkg\ndef test_use(): pass\n",
}


def project(pytester: pytest.Pytester) -> None:
    build_wheel(
        pytester.path / "dist", "pkg", files={"pkg/__init__.py": "", "uses.py": "import pkg\nimport resource, pty\n"}
    )
    for name, text in FILES.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


SKIPPED = {
    *("test_marked", "test_in_it", "test_pty_resize", "test_one", "test_whole_file", "test_some[1]"),
    *("tests/test_module_a.py", "tests/test_module_b.py"),
}
RUN = {
    *("test_exempt", "test_empty", "test_cryptyc", "test_conpty", "test_two", "test_values[pty]", "test_values[no]"),
    *("test_conpty_pty", "test_some[2]", "test_folder", "test_package", "test_use"),
}


def outcome_of(ran: RunOutput, outcome: str) -> set[str]:
    return {name.rpartition("::")[2] for name in ran.only(outcome) if name.startswith("tests")}


@needs_ptys
def test_target_without_pseudo_terminals(
    pytester: pytest.Pytester, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(pytester)
    monkeypatch.setenv("WHEELCHECK_PRETEND_PLATFORM", "win32")
    ran = run_dist("tests")
    assert outcome_of(ran, "SKIPPED") == SKIPPED
    assert outcome_of(ran, "PASSED") == {*RUN, "test_there"}
    # An import that fails inside the wheel is a failure of the wheel; a module that exists nowhere is one of the tests.
    assert outcome_of(ran, "FAILED") == {"tests/test_module_c.py", "tests/test_module_d.py"}
    assert "needs a pseudo-terminal, which cp" in ran.text
    assert " on win32 does not have" in ran.text
    lines = [line for line in ran.text.splitlines() if line.startswith("SKIPPED")]
    assert any(re.search(r"tests/test_module_a\.py.*needs the module 'fcntl'", line) for line in lines), lines
    assert any(re.search(r"tests/test_module_b\.py.*needs the module 'termios'", line) for line in lines), lines
    assert ran.code == 1


OPENS = """
import ctypes, os, pty_of_ours
import pytest
from pty_of_ours import _native, open_terminal

class Kernel:
    def CreatePseudoConsole(self): raise OSError("no such function")

def helper(kernel): kernel.CreatePseudoConsole()
def twice(value): return open_terminal(value)

def test_named(): open_terminal(3)
def test_dotted(): pty_of_ours.open_terminal(3)
def test_through_a_helper(): twice(3)
def test_console(): helper(Kernel())
def test_attribute(): os.openpty
def test_in_a_fixture(terminal): pass

def test_returned():
    assert open_terminal(0) == 1
def test_elsewhere():
    open_terminal(0)
    int("x")
def test_another(): _native.closes(3)
def test_number():
    assert CreatePseudoConsole() == 0

def CreatePseudoConsole(): return -5

def test_alias():
    import pty_of_ours as ours
    ours.open_terminal(3)
def test_expected():
    with pytest.raises(ValueError):
        open_terminal(3)

@pytest.fixture
def terminal():
    return open_terminal(
        3
    )
"""


def test_failures_in_calls_that_open_one(
    pytester: pytest.Pytester, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHEELCHECK_PRETEND_PLATFORM", "win32")
    # These methods leave no frame in the traceback, like native functions.
    native = "open_terminal, closes = ({0: 0}).__getitem__, ({0: 0}).__getitem__\n"
    files = {
        "pty_of_ours/__init__.py": "from ._native import open_terminal\nimport os\nos.__dict__.pop('openpty', None)\n",
        "pty_of_ours/_native.py": native,
    }
    build_wheel(pytester.path / "dist", "ours", files=files)
    pytester.makeini("[pytest]\nwheel_pty_patterns = no_such_word\nwheel_pty_calls =\n    pty_of_ours.open_terminal\n")
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests/test_opens.py").write_text(OPENS.replace("ValueError", "KeyError"), encoding="utf-8")
    ran = run_dist("tests")
    blocks = dict(
        re.findall(
            r"^_+ (?:ERROR at setup of )?cp\S+::(test_\w+) _+\n(.*?)(?=^_____|^=====)",
            ran.text,
            re.MULTILINE | re.DOTALL,
        )
    )
    explained = {name for name, text in blocks.items() if " opens a pseudo-terminal (" in text}
    precise = sys.version_info >= (3, 11)
    assert explained == {
        *(
            "test_named",
            "test_dotted",
            "test_through_a_helper",
            "test_console",
            "test_number",
            "test_alias",
            "test_in_a_fixture",
        ),
        *(["test_attribute"] if precise else []),
    }
    assert blocks.keys() - explained == {
        "test_returned",
        "test_elsewhere",
        "test_another",
        *({"test_attribute"} - explained),
    }
    assert "pty_of_ours.open_terminal opens a pseudo-terminal (tests/test_opens.py:" in blocks["test_named"]
    assert "mark the test with @pytest.mark.pty" in blocks["test_console"]
    assert re.search(
        r"CreatePseudoConsole opens a pseudo-terminal \(tests/test_opens\.py:9\), but cp", blocks["test_console"]
    )


@needs_ptys
def test_target_with_pseudo_terminals(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    project(pytester)
    ran = run_dist("tests", "--deselect=tests/test_module_d.py", "--ignore=tests/test_module_d.py")
    assert (outcome_of(ran, "SKIPPED"), ran.only("FAILED")) == ({"test_there"}, [])
    assert SKIPPED - {"tests/test_module_a.py", "tests/test_module_b.py"} <= outcome_of(ran, "PASSED")


@needs_ptys
def test_patterns_in_the_ini_file(
    pytester: pytest.Pytester, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(pytester)
    monkeypatch.setenv("WHEELCHECK_PRETEND_PLATFORM", "win32")
    pytester.makeini("[pytest]\nwheel_pty_patterns = cryptyc two_words\n")
    (pytester.path / "tests/test_marks.py").write_text(
        "import pytest\ndef test_pty_resize(): pass\ndef test_cryptyc(): pass\ndef test_words_two(): pass\n"
        "class TestTwoWords:\n    def test_x(self): pass\n@pytest.mark.pty\ndef test_marked(): pass\n"
    )
    ran = run_dist("tests/test_marks.py")
    assert outcome_of(ran, "SKIPPED") == {"test_cryptyc", "test_x", "test_marked"}
    assert outcome_of(ran, "PASSED") == {"test_pty_resize", "test_words_two"}
    # An empty value disables the patterns, but not the marker.
    pytester.makeini("[pytest]\nwheel_pty_patterns =\n")
    assert outcome_of(run_dist("tests/test_marks.py"), "SKIPPED") == {"test_marked"}


def test_a_conftest_is_not_skipped(
    pytester: pytest.Pytester, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(pytester)
    monkeypatch.setenv("WHEELCHECK_PRETEND_PLATFORM", "win32")
    pytester.makeconftest("import termios\n")
    ran = run_dist("tests/test_lazy.py")
    assert ran.code != 0
    assert outcome_of(ran, "PASSED") == set()
    assert "import of termios halted" in ran.text
    assert "needs the module" not in ran.text


#: Makes an ordinary run act like one on Windows.
LIKE_WINDOWS = """
import os, sys
os.__dict__.pop("openpty", None)
for name in ("pty", "tty", "termios", "fcntl", "resource"):
    sys.modules[name] = None
"""


def ordinary(pytester: pytest.Pytester, *args: str) -> RunOutput:
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-v", "-rs", *args, timeout=60)
    nodes = {
        match["id"].rpartition("::")[2]: match["outcome"]
        for line in result.outlines
        if (match := re.match(r"(?P<id>\S+::\S+) (?P<outcome>[A-Z]+)\b", line))
    }
    return RunOutput(code=int(result.ret), nodes=nodes, text=result.stdout.str())


def test_an_ordinary_run_without_pseudo_terminals(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project(pytester)
    (pytester.path / "like_windows.py").write_text(LIKE_WINDOWS)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    ignored = [f"--ignore=tests/{name}.py" for name in ("test_module_c", "test_module_d", "test_lazy")]
    args = ("-p", "like_windows", "tests", *ignored)
    ran = ordinary(pytester, *args)
    # The marker and failing imports skip tests; the names only do with the ini key.
    there = set[str]() if sys.platform == "win32" else {"test_there"}
    assert set(ran.only("SKIPPED")) == {"test_marked", "test_in_it", "test_some[1]", *there}
    assert "needs the module 'fcntl'" in ran.text
    assert re.search(r"tests[/\\]test_module_b\.py.*: needs the module 'termios'", ran.text)
    assert ran.nodes["test_whole_file"] == "PASSED"
    assert ran.nodes["test_pty_resize"] == "FAILED"
    pytester.makeini("[pytest]\nwheel_pty_patterns = pty\n")
    ran = ordinary(pytester, *args)
    names = SKIPPED - {"tests/test_module_a.py", "tests/test_module_b.py"}
    assert set(ran.only("SKIPPED")) == {*names, *there}
    assert ran.code == 0
    assert ordinary(pytester, "-p", "like_windows", "tests/test_pty_file.py").nodes == {"test_whole_file": "SKIPPED"}
    # Another missing module is an error.
    assert ordinary(pytester, "-p", "like_windows", "tests/test_module_d.py").code == 2


@needs_ptys
def test_an_ordinary_run_with_pseudo_terminals(pytester: pytest.Pytester) -> None:
    project(pytester)
    pytester.makeini("[pytest]\nwheel_pty_patterns = pty\n")
    ran = ordinary(pytester, "tests/test_marks.py", "tests/test_module_a.py", "--strict-markers")
    assert (ran.code, ran.only("SKIPPED")) == (0, ["test_there"])


def failing_import(source: str, file: str, name: str = "importing") -> ImportError:
    try:
        exec(compile(source, file, "exec"), {"__name__": name})
    except ImportError as error:
        return error
    raise AssertionError("the import succeeded")


def test_the_file_that_imports_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rules = TargetRules(dict(local_facts(), pty=False, system="win32", interpreter="cp311"), ("pty",))

    def in_wheel(file: str) -> bool:
        return file.startswith("/site/")

    monkeypatch.setitem(sys.modules, "termios", None)
    monkeypatch.delitem(sys.modules, "tty", raising=False)
    # On Windows, ``tty`` exists, and an import inside it fails: the file that imports ``tty`` counts.
    through_tty = failing_import("import tty", "/site/pkg/__init__.py")
    assert through_tty.name == "termios"
    assert rules.skips_import(through_tty, in_wheel) == ""
    by_test = failing_import("import tty", "/project/tests/test_a.py")
    assert rules.skips_import(by_test, in_wheel) == "needs the module 'termios', which cp311 on win32 does not have"
    assert rules.skips_import(failing_import("import no_such_thing", "/project/t.py"), in_wheel) == ""
    has = TargetRules(dict(local_facts(), pty=True), ("pty",))
    assert has.skips_import(by_test, in_wheel) == ""


def test_local_facts() -> None:
    if not hasattr(os, "openpty"):
        pytest.skip("needs a system with pseudo-terminals")
    assert local_facts()["pty"] is True
