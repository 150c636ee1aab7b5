"""A test in a target is an ordinary item: pytest reports the same as in an ordinary run.

A project with all kinds of tests is run twice, by plain pytest in a prepared environment and with ``--wheel``. The
reports are compared.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import configured_uv
import pytest
import uv
from builders import build_wheel
from nodes import Run

PACKAGE = '''
class DemoWarning(UserWarning):
    """Cannot be constructed from its own text."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


def double(value):
    """
    >>> double(2)
    4
    """
    return 2 * value
'''

PYPROJECT = """
[tool.pytest.ini_options]
testpaths = ["checks"]
addopts = ["--doctest-modules", "--strict-markers", "--strict-config"]
markers = ["slow(level): takes long"]
junit_family = "xunit1"
junit_logging = "all"
"""

CONFTEST = """
import pytest

@pytest.fixture(scope="session", autouse=True)
def for_session():
    print("SESSION UP")
    yield
    print("SESSION DOWN")

@pytest.fixture(scope="module")
def for_module(for_session):
    print("MODULE UP")
    yield "module"
    print("MODULE DOWN")

@pytest.fixture(scope="class")
def for_class():
    print("CLASS UP")
    yield
    print("CLASS DOWN")

@pytest.fixture
def for_function():
    print("FUNCTION UP")
    yield
    print("FUNCTION DOWN")

@pytest.fixture
def bad_setup():
    raise LookupError("setup broke")

@pytest.fixture
def bad_teardown():
    yield
    print("about to break")
    raise RuntimeError("teardown broke")
"""

TESTS = '''
"""
>>> import demo
>>> demo.double(4)
8
"""
import logging, os, sys, unittest, warnings
import demo, pytest

@pytest.mark.parametrize("value", ["a::b", "c[d]", "gr\\u00fcn", "x y", "", "e]", "a::b::c[1]::d"])
def test_odd_ids(value, for_module):
    assert value != "x y"

class Shy:
    def __repr__(self):
        raise KeyboardInterrupt("nobody may look")

@pytest.mark.slow(Shy())
@pytest.mark.parametrize("shy", [Shy()])
def test_shy(shy):
    assert isinstance(shy, Shy)

@pytest.mark.parametrize("value", [1, 2], ids=["one::[", "]two"])
class TestParametrised:
    def test_outer(self, value):
        pass

    class TestInner:
        def test_inner(self, value):
            assert value == 1

@pytest.mark.usefixtures("for_function", "for_class")
class TestFixtures:
    @pytest.mark.slow(3)
    def test_passes(self):
        print("on stdout")
        print("on stderr", file=sys.stderr)
        logging.getLogger("demo").warning("in the log")

    def test_fails(self, for_module):
        print("on stdout")
        print("on stderr", file=sys.stderr)
        logging.getLogger("demo").warning("in the log")
        assert 0, "boom"

class TestUnittest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.value = 1

    def test_passes(self):
        self.assertEqual(self.value, 1)

    def test_fails(self):
        self.assertEqual(self.value, 2)

    @unittest.skip("skipped by unittest")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("expected")

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

@pytest.mark.xfail(reason="known to fail")
def test_xfail():
    assert 0

@pytest.mark.xfail(reason="not so", strict=True)
def test_xpass_strict():
    pass

@pytest.mark.xfail
def test_xpass():
    pass

@pytest.mark.xfail(run=False, reason="not run")
def test_xfail_not_run():
    os.abort()

@pytest.mark.xfail(raises=ValueError)
def test_xfail_other():
    1 / 0

@pytest.mark.skip(reason="skipped by a mark \\u00e9")
def test_skip():
    pass

@pytest.mark.skipif("sys.platform != 'nowhere'", reason="by a condition")
def test_skipif():
    pass

def test_skip_inside():
    pytest.skip("inside")

def test_importorskip():
    pytest.importorskip("no_such_module")

def test_xfail_inside():
    pytest.xfail("inside")

def test_fail():
    pytest.fail("plain words", pytrace=False)

def test_bad_setup(bad_setup):
    pass

def test_bad_teardown(bad_teardown):
    print("in the test")

def test_bad_twice(bad_teardown):
    assert 0, "the test"

def test_exits():
    sys.exit(0)

def test_properties(record_property, record_testsuite_property):
    record_testsuite_property("of the run", "value")
    record_property("one", 1)
    record_property("two", "x::y")

def test_attribute(record_xml_attribute):
    record_xml_attribute("custom", "value")

def test_warnings():
    warnings.warn(demo.DemoWarning(7, "of a class of the user's own"))
    warnings.warn("old", DeprecationWarning)

def test_builtin_fixtures(tmp_path, capfd, monkeypatch, request):
    monkeypatch.setenv("DEMO", "1")
    monkeypatch.chdir(tmp_path)
    os.write(1, b"raw\\n")
    assert capfd.readouterr().out == "raw\\n"
    assert tmp_path.name == "test_builtin_fixtures0"

def test_chain():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("outer") from error
'''

#: Built into pytest from 9.0 on.
SUBTESTS = """
def test_subtests(subtests):
    for value in ("one", "two", "three"):
        with subtests.test(msg="a message", value=value):
            assert value != "two"

def test_good_subtests(subtests):
    for value in range(2):
        with subtests.test(value=value):
            pass
"""

SKIPPED_MODULE = "import pytest\npytest.skip('the whole module', allow_module_level=True)\n"

SUBFOLDER = """
import pytest

@pytest.fixture(autouse=True)
def of_subfolder(record_property):
    record_property("from", "subfolder")
"""


class Case(NamedTuple):
    """A test in a JUnit report, without values that differ from run to run."""

    file: str | None
    line: str | None
    attributes: tuple[str, ...]
    parts: tuple[tuple[str, str, str, str], ...]


def cases(report: Path, prefix: str = "") -> dict[str, list[Case]]:
    """Read a JUnit report: tests below *prefix*, by their ids. A test that failed twice has two entries."""
    found: dict[str, list[Case]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if not name.startswith(prefix):
            continue
        # The first part of a JUnit name is written as a module, the others are not.
        name = name[len(prefix) :].replace("/", ".").replace(".py", "").lstrip(".:")
        parts = []
        for part in case:
            if part.tag == "properties":
                text = repr([(entry.get("name"), entry.get("value")) for entry in part])
            else:
                text = re.sub(r"0x[0-9a-fA-F]{6,}", "ADDRESS", part.text or "")
            parts.append((part.tag, part.get("type", ""), part.get("message", ""), text))
        assert float(case.get("time", "-1")) >= 0
        entry = Case(case.get("file"), case.get("line"), tuple(sorted(case.attrib)), tuple(parts))
        found.setdefault(name, []).append(entry)
    return found


def counts(result: pytest.RunResult) -> dict[str, int]:
    return {name: number for name, number in result.parseoutcomes().items() if name != "passed"}


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Create an environment without any code of this project; the result is its interpreter."""

    def make(*requirements: str | Path) -> Path:
        directory = tmp_path_factory.mktemp("plain") / "env"
        uv_bin = uv.find_uv_bin()
        subprocess.run([uv_bin, "venv", "-q", "--python", sys.executable, directory], check=True)
        python = directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        install = [uv_bin, "pip", "install", "-q", "--python", python, *requirements]
        subprocess.run(install, check=True, env=configured_uv.environment())
        return python

    return make


def write(pytester: pytest.Pytester, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("release", [version("pytest"), "8.4.2"])
def test_same_as_plain_pytest(
    pytester: pytest.Pytester,
    run_wheels: Run,
    environment: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    release: str,
) -> None:
    """With the host's version of pytest in the target, and with the newest for the oldest target, CPython 3.9."""
    subtests = SUBTESTS if release.partition(".")[0] != "8" else ""
    write(
        pytester,
        {
            "pyproject.toml": PYPROJECT,
            "checks/conftest.py": CONFTEST,
            "checks/test_rich.py": TESTS + subtests,
            "checks/test_skipped.py": SKIPPED_MODULE,
            "checks/sub/conftest.py": SUBFOLDER,
            "checks/sub/test_sub.py": "def test_below(for_module):\n    pass\n",
        },
    )
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": PACKAGE})
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("CI", "1")  # pytest does not truncate lines of the summary.
    python = environment(wheel, f"pytest=={release}", f"pytest-timeout=={version('pytest-timeout')}")
    plain = pytester.run(python, "-m", "pytest", "-p", "no:cacheprovider", "-ra", "--junit-xml=plain.xml")
    before = sorted(path for path in pytester.path.rglob("*") if "runpytest" not in str(path))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    words = ["--wheel=dist", "--wheel-select=WHL101", f"--wheel-requires=pytest=={release}"]
    ours = run_wheels(*words, "-ra", "--junit-xml=ours.xml")

    [target] = {line.partition("::")[2].partition("::")[0] for line in ours.outlines if "::checks/test_rich" in line}
    prefix = f"dist.{wheel.name}.{target}"
    expected, found = cases(Path("plain.xml")), cases(Path("ours.xml"), prefix)
    # A module that skips itself is no item in plain pytest, and is one here.
    assert expected.pop("checks.test_skipped")[0].parts[0][:3] == ("skipped", "", "collection skipped")
    assert found.pop("checks.test_skipped")[0].parts[0][:3] == ("skipped", "pytest.skip", "the whole module")
    assert list(found) == ["install", "import[demo]", *expected]
    for name, entries in expected.items():
        assert found[name] == entries, name
    assert "custom" in found["checks.test_rich::test_attribute"][0].attributes
    [of_run] = ET.parse("ours.xml").getroot().iterfind("testsuite/properties/property")
    assert of_run.attrib == {"name": "of the run", "value": "value"}
    assert len(expected) > 35

    assert counts(ours) == counts(plain)
    assert plain.ret == ours.ret == pytest.ExitCode.TESTS_FAILED
    node = f"dist/{wheel.name}::{target}::"
    summary = [
        line
        for line in plain.outlines
        if line.startswith(("SUBFAILED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "XPASS"))
    ]
    lines = {line.replace(node, "") for line in ours.outlines}
    if release != version("pytest"):
        # The host's pytest formats the summary; only the named tests are the same.
        summary = [line.partition(" - ")[0].replace("XFAIL at setup of ", "XFAIL ") for line in summary]
        lines = {line.partition(" - ")[0].replace("XFAIL at setup of ", "XFAIL ") for line in lines}
    assert [line for line in summary if line not in lines and "test_skipped.py" not in line] == []
    assert any(line.startswith("SUBFAILED[a message] (value='two') ") for line in lines) is bool(subtests)
    ours.stdout.fnmatch_lines(
        [f"*{node}checks/test_rich.py::test_warnings*", "*DemoWarning: 7: of a class of the user's own*"]
    )

    # Only the report is new: no bytecode, no cache of the target.
    after = sorted(path for path in pytester.path.rglob("*") if "runpytest" not in str(path))
    assert [path.name for path in after if path not in before] == ["ours.xml"]


def test_collection_that_fails(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """A module that cannot be collected is a failed item, and the others run. Locations name the user's files."""
    write(
        pytester,
        {
            "tests/test_good.py": "\n\ndef test_good(): pass\ndef test_line():\n    assert 0\n",
            "tests/test_import.py": "import no_such_module\n",
            "tests/test_syntax.py": "def test_ (:\n",
            "tests/test_interrupt.py": "raise KeyboardInterrupt\n",
            "tests/test_exit.py": "import sys; sys.exit(0)\n",
            "tests/sub/conftest.py": "import not_here\n",
            "tests/sub/test_sub.py": "def test_sub(): pass\n",
        },
    )
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": PACKAGE})
    result = run_wheels("--wheel", wheel, "tests", "--wheel-select=WHL101", "--tb=short", "-v")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    for name in ("tests/sub", "tests/test_import.py", "tests/test_syntax.py", "tests/test_interrupt.py"):
        result.stdout.re_match_lines([rf"dist/{wheel.name}::[^:]*::{name} FAILED .*"])
    result.stdout.re_match_lines(
        [r"dist/.*::tests/test_exit.py FAILED", r"dist/.*::tests/test_good.py::test_good PASSED"]
    )
    result.stdout.fnmatch_lines([f"{Path('tests/test_good.py')}:5: in test_line"])
    result.stdout.fnmatch_lines(
        [f"{Path('tests/test_import.py')}:1: in <module>", "E   ModuleNotFoundError: *no_such_module*"]
    )
    result.stdout.fnmatch_lines(["E *SyntaxError: *"])
    result.stdout.fnmatch_lines(["E   KeyboardInterrupt"])
    result.stdout.fnmatch_lines(["E   SystemExit: 0"])
    assert "wheelcheck_worker" not in result.stdout.str()


def test_conftest_that_fails(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """A conftest file that cannot be imported in the target is a failed item with pytest's own message."""
    write(
        pytester, {"tests/conftest.py": "print('hello')\nimport not_here\n", "tests/test_a.py": "def test_a(): pass\n"}
    )
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": PACKAGE})
    result = run_wheels("--wheel", wheel, "tests", "--wheel-select=WHL101")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"*ImportError while loading conftest *{Path('tests/conftest.py')}*",
            "E   ModuleNotFoundError: *",
            "FAILED dist/*::collect*",
        ]
    )


def test_hook_that_interrupts(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """A KeyboardInterrupt in the target is not Ctrl-C: the message shows where it was raised."""
    hook = "def pytest_collection_modifyitems():\n    raise KeyboardInterrupt('for once')\n"
    write(pytester, {"tests/conftest.py": hook, "tests/test_a.py": "def test_a(): pass\n"})
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": PACKAGE})
    result = run_wheels("--wheel", wheel, "tests", "--wheel-select=WHL101")
    assert result.ret not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    text = result.stdout.str() + result.stderr.str()
    assert "KeyboardInterrupt: for once" in text
    assert f"{Path('tests/conftest.py')}:2" in text


def test_what_plugins_print(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """Header and summary of the user's conftest are shown under the target's name, also if the run stops early."""
    write(
        pytester,
        {
            "tests/conftest.py": """
                import pathlib, pytest
                def pytest_report_header(config):
                    return ["a header line", f"rootdir of the target is {config.rootpath.name}"]
                def pytest_terminal_summary(terminalreporter, exitstatus):
                    terminalreporter.section("of the conftest")
                    number = len(terminalreporter.stats["passed"])
                    terminalreporter.write_line(f"counted {number}, exit {int(exitstatus)}")
                @pytest.fixture(scope="session", autouse=True)
                def long():
                    yield
                    pathlib.Path("torn-down").touch()
            """.replace("\n                ", "\n"),
            "tests/test_a.py": "def test_a(): pass\ndef test_b(): pass\ndef test_c(): assert 0\ndef test_d(): pass\n",
        },
    )
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": PACKAGE})
    result = run_wheels("--wheel", wheel, "--wheel-select=WHL101", "-k", "not test_c")
    result.stdout.re_match_lines(
        [
            r"[^:]+: a header line",
            rf"[^:]+: rootdir of the target is {pytester.path.name}",
            r"-+ from dist/.*\.whl::\S+ -+",
            r"=+ of the conftest =+",
            r"counted 3, exit 0",
        ]
    )
    assert result.ret == 0
    for option, code in (("-x", pytest.ExitCode.TESTS_FAILED), ("--stepwise", pytest.ExitCode.INTERRUPTED)):
        Path("torn-down").unlink()
        words = ["--wheel", str(wheel), f"--wheel-python={sys.executable}", "--wheel-select=WHL101", option, "--tb=no"]
        result = pytester.runpytest_subprocess(*words, timeout=120)
        assert result.ret == code
        result.assert_outcomes(passed=5, failed=1)
        result.stdout.fnmatch_lines(["counted 2, *"] if option == "-x" else ["counted *"])
        assert Path("torn-down").exists()


def test_items_of_other_kinds(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """Items of the user's own classes, a repeated node id, a plugin that runs tests again, and live logs."""
    write(
        pytester,
        {
            "pytest.ini": "[pytest]\nfilterwarnings = error\nlog_cli = true\nlog_level = INFO\n",
            "tests/conftest.py": """
                import pytest
                class LineItem(pytest.Item):
                    def runtest(self):
                        assert "bad" not in self.name
                    def repr_failure(self, excinfo):
                        return f"shown by the item itself: {self.name}"
                    def reportinfo(self):
                        return self.path, 2, f"line {self.name}"
                class LineFile(pytest.File):
                    def collect(self):
                        for line in self.path.read_text().splitlines():
                            yield LineItem.from_parent(self, name=line)
                def pytest_collect_file(parent, file_path):
                    if file_path.suffix == ".txt":
                        return LineFile.from_parent(parent, path=file_path)
            """.replace("\n                ", "\n"),
            "tests/cases.txt": "good\nbad::one [x]\n",
            "tests/test_a.py": "import logging, warnings, pytest\n"
            "COUNT = []\n"
            "def test_flaky():\n    COUNT.append(1)\n    assert len(COUNT) > 1\n"
            "def test_log(): logging.info('logged live')\n"
            "def test_filter():\n    with pytest.raises(UserWarning): warnings.warn('is an error')\n",
        },
    )
    wheel = build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": PACKAGE})
    words = ["--wheel-requires=pytest-rerunfailures", "--reruns=1", "--keep-duplicates", "-v"]
    tests = ["tests/test_a.py", "tests/test_a.py", "tests/cases.txt"]
    result = run_wheels("--wheel", wheel, "--wheel-select=WHL101", *words, *tests)
    assert result.parseoutcomes() == {"passed": 3 + 2 * 3 + 1, "failed": 1, "rerun": 2}
    result.stdout.fnmatch_lines(["*live log call*", "INFO *logged live"])
    result.stdout.fnmatch_lines(["*::line bad::one ?x? __*", "shown by the item itself: bad::one ?x?"])
    result.stdout.fnmatch_lines(["FAILED dist/*::tests/cases.txt::bad::one ?x?*"])
    result.stdout.no_fnmatch_line("*virtualenv*")
