"""What is done before the tests run: modules are rewritten ahead, and tests are collected while the wheel is imported."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunOutput, run_output

#: Notes each module whose assert statements the worker itself rewrites. pytest loads it first.
CONFTEST = """
from _pytest.assertion import rewrite

original = rewrite.rewrite_asserts

def rewrite_asserts(tree, source, path, config):
    with open({log!r}, "a") as file:
        file.write(path.replace("\\\\", "/").rpartition("/")[2] + "\\n")
    original(tree, source, path, config)

rewrite.rewrite_asserts = rewrite_asserts
"""

TEST = """
def test_equal():
    found = 1 + 1
    assert found == 3
"""


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    """A project with a wheel."""
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    (pytester.path / "conftest.py").write_text(CONFTEST.format(log=str(pytester.path / "rewritten")))
    return pytester.path


def go(run_wheels: Run, *args: str | Path) -> RunOutput:
    return run_output(run_wheels("--wheel", "dist", "--wheel-select=WHL101", "-v", *args, timeout=120))


def rewritten(root: Path) -> list[str]:
    """Return the names of the modules that the worker rewrote since the last call."""
    path = root / "rewritten"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_test_modules_are_rewritten_ahead(root: Path, run_wheels: Run) -> None:
    (root / "tests" / "deep").mkdir(parents=True)
    for path in (root / "test_top.py", root / "tests" / "test_it.py", root / "tests" / "deep" / "test_deep.py"):
        path.write_text(TEST)
    (root / "tests" / "conftest.py").write_text("assert 'is rewritten'\n")
    for arguments in (["."], ["tests/test_it.py", "tests/deep", "test_top.py"], []):
        found = go(run_wheels, *arguments)
        assert rewritten(root) == []
        assert found.outcomes("test_equal") == ["FAILED"] * 3
        # The values, the line, and the file by its own path.
        assert "E       assert 2 == 3" in found.text
        assert "tests/deep/test_deep.py:4: AssertionError" in found.text


def test_a_changed_module_is_not_taken_from_the_cache(root: Path, run_wheels: Run) -> None:
    path = root / "test_it.py"
    path.write_text(TEST)
    assert "assert 2 == 3" in go(run_wheels, path).text
    path.write_text(TEST.replace("1 + 1", "2 + 2"))
    assert "assert 4 == 3" in go(run_wheels, path).text
    assert rewritten(root) == []


def test_modules_that_the_worker_rewrites_itself(root: Path, run_wheels: Run) -> None:
    """One that causes a warning, which the user has to see; and all, where the hook of plugins is switched on."""
    path = root / "test_it.py"
    path.write_text(f"{TEST}\n\ndef test_always():\n    assert (1, 'never fails')\n")
    found = go(run_wheels, path)
    assert rewritten(root) == ["test_it.py"]
    assert "assertion is always true" in found.text
    path.write_text(TEST)
    go(run_wheels, path, "-o", "enable_assertion_pass_hook=true")
    assert rewritten(root) == ["test_it.py"]


def test_a_result_that_is_damaged(root: Path, run_wheels: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHEELCHECK_CACHE", str(root / "cache"))
    path = root / "test_it.py"
    path.write_text(TEST)
    go(run_wheels, path)
    results = [each for each in root.glob("cache/rewritten/*/*") if each.name != ".complete"]
    assert len(results) == 2, "conftest.py and the test module"
    for number, result in enumerate(results):
        data = result.read_bytes()
        result.write_bytes(data[: len(data) // 2] if number else b"")
    assert go(run_wheels, path).outcomes("test_equal") == ["FAILED"]


def test_plugins_are_rewritten_with_the_test_tools(root: Path, run_wheels: Run) -> None:
    plugin = "def check(value):\n    assert value == 3, 'by the plugin'\n"
    build_wheel(
        root / "links",
        "pytest-demo",
        files={"pytest_demo/__init__.py": "", "pytest_demo/plugin.py": plugin},
        entry_points="[pytest11]\ndemo = pytest_demo.plugin\n",
    )
    (root / "test_it.py").write_text("from pytest_demo.plugin import check\n\ndef test_plugin():\n    check(2)\n")
    found = go(run_wheels, "test_it.py", "--wheel-requires=pytest-demo", f"--wheel-find-links={root / 'links'}")
    assert found.outcomes("test_plugin") == ["FAILED"]
    assert "assert 2 == 3" in found.text
    assert "plugin.py:2: AssertionError" in found.text
    assert rewritten(root) == []


def test_tests_are_collected_while_the_wheel_is_imported(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """The import waits for the conftest file, which only a collection at the same time can load."""
    mark = pytester.path / "loaded"
    source = f"""
        import os, time
        end = time.monotonic() + 30
        while not os.path.exists({str(mark)!r}):
            assert time.monotonic() < end, "nothing is collected"
            time.sleep(0.05)
    """
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": textwrap.dedent(source)})
    (pytester.path / "conftest.py").write_text(f"open({str(mark)!r}, 'a').write('x')\n")
    (pytester.path / "test_it.py").write_text("def test_demo():\n    import demo\n")
    found = go(run_wheels, "test_it.py")
    assert found.code == 0, found.text
    assert mark.read_text() == "x", "the tests were collected once"


def test_tests_are_collected_again_after_an_import_that_failed(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """Tests refer to a failed import, which is not known before."""
    mark = pytester.path / "loaded"
    source = f"""
        import os, time
        end = time.monotonic() + 30
        while not os.path.exists({str(mark)!r}) and time.monotonic() < end:
            time.sleep(0.05)
        raise RuntimeError("is broken")
    """
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": textwrap.dedent(source)})
    (pytester.path / "conftest.py").write_text(f"open({str(mark)!r}, 'a').write('x')\n")
    (pytester.path / "test_it.py").write_text("def test_demo():\n    import demo\n\ndef test_other(): pass\n")
    found = go(run_wheels, "test_it.py", "-rs")
    assert found.outcomes("import[demo]") == ["FAILED"]
    assert found.outcomes("test_demo") == ["SKIPPED"]
    assert "import[demo] did not pass" in found.text
    assert found.outcomes("test_other") == ["PASSED"]
    assert mark.read_text() == "xx"


def test_a_collection_with_a_problem_is_repeated_alone(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """It may be one of two programs at the same time. The user is told about it."""
    mark = pytester.path / "loaded"
    build_wheel(pytester.path / "dist", "demo", files={"demo.py": ""})
    (pytester.path / "test_it.py").write_text(
        f"""
import os
with open({str(mark)!r}, "a") as file:
    file.write("x")
if os.stat({str(mark)!r}).st_size == 1:
    os._exit(3)

def test_demo(): pass
"""
    )
    found = go(run_wheels, "test_it.py")
    assert found.code == 0, found.text
    assert found.outcomes("test_demo") == ["PASSED"]
    assert (
        "collecting the tests failed while the wheel was imported, and succeeded when it was repeated: " in found.text
    )
    assert "test_it.py was collected" in found.text


def test_the_guard_is_there_before_code_of_the_environment(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """A ``.pth`` file imports the package at the start: nothing is collected ahead then."""
    mark = pytester.path / "loaded"
    source = f"""
        import sys
        with open({str(mark)!r}, "a") as file:
            file.write(" ".join(type(finder).__name__ for finder in sys.meta_path) + "\\n")
    """
    files = {"demo.py": textwrap.dedent(source), "demo.pth": "import demo\n"}
    build_wheel(pytester.path / "dist", "demo", files=files)
    (pytester.path / "test_it.py").write_text("def test_demo():\n    import demo\n")
    found = go(run_wheels, "test_it.py")
    assert found.code == 0, found.text
    starts = [line for line in mark.read_text().splitlines() if "AssertionRewritingHook" not in line]
    # The import check has no guard, and the worker of the tests has one.
    assert starts[-1].startswith("Guard ")
