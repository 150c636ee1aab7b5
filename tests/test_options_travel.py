"""Options, ini keys and markers: the host acts on some options, the target on the others, and both accept the project's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run, RunOutput, run_output

PACKAGE = """
class DemoWarning(UserWarning):
    pass

def double(value):
    return 2 * value
"""

CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true")
    parser.addoption("--level", type=int, default=0)
    parser.addini("site", "where", default="nowhere")

def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long")

def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--runslow"):
            item.add_marker(pytest.mark.skip(reason="needs --runslow"))
"""

TESTS = """
import time
import demo, pytest

@pytest.fixture(scope="module")
def shared():
    yield

@pytest.mark.slow
def test_slow(): pass

@pytest.mark.device("usb", serial="AB1")
def test_one(pytestconfig, shared):
    assert pytestconfig.getini("site") == "from ini"

@pytest.mark.device("usb", serial="AB2")
@pytest.mark.parametrize("value", [1, 2])
def test_two(value, shared):
    '''What it is for.'''
    assert value == 1

class TestGroup:
    def test_long(self):
        time.sleep(0.05)

    def test_level(self, pytestconfig):
        print("level", pytestconfig.getoption("level"))
"""

INI = """
[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = ["--strict-markers", "--strict-config"]
markers = ["device(kind, *, serial): a device"]
site = "from ini"
"""

STRICT = """
[tool.pytest]
testpaths = ["tests"]
strict = true
addopts = ["--runslow", "--level", "2", "--cov", "demo", "--cov-report=term", "--wheel-jobs=2"]
markers = ["device(kind, *, serial): a device"]
filterwarnings = ["error::demo.DemoWarning"]
required_plugins = ["pytest-cov"]
wheel_requires = ["pytest-cov"]
wheel_test_timeout = "60"
site = "from ini"
"""

#: The nodes of a run of one pure wheel, in addition to the tests.
OWN = ["import[demo]", "install"]

ONE, TWO = "tests/test_demo.py::test_one", "tests/test_demo.py::test_two"


@pytest.fixture
def wheel(pytester: pytest.Pytester) -> Path:
    """A project with tests, and the wheel of its package."""
    for name, text in (("pyproject.toml", INI), ("tests/conftest.py", CONFTEST), ("tests/test_demo.py", TESTS)):
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return build_wheel(pytester.path / "dist", "demo", files={"demo/__init__.py": PACKAGE})


@pytest.fixture
def run(run_wheels: Run, wheel: Path) -> Callable[..., RunOutput]:
    """Run with the given options and only one static check, and read the output of ``-v``."""
    return lambda *args: run_output(run_wheels("--wheel", wheel, "--wheel-select=WHL101", "-v", *args))


@pytest.fixture
def run_cached(pytester: pytest.Pytester, wheel: Path) -> Callable[..., RunOutput]:
    """As :func:`run`, with the host's cache."""
    args = ("--wheel", str(wheel), f"--wheel-python={sys.executable}", "--wheel-select=WHL101", "-v", "--tb=no")
    return lambda *more: run_output(pytester.runpytest_subprocess(*args, *more, timeout=120))


def test_select_and_show(run: Callable[..., RunOutput], pytester: pytest.Pytester) -> None:
    found = run("-m", "device(serial='AB1')", "--level=3", "-rA", "-p", "no:doctest")
    assert found.nodes == {ONE: "PASSED"}
    assert found.code == 0

    found = run("-k", "(TestGroup or slow) and cp3", "--level", "3", "-rA", "--durations=1", "--durations-min=0.01")
    assert found.nodes == {
        "tests/test_demo.py::test_slow": "SKIPPED",
        "tests/test_demo.py::TestGroup::test_long": "PASSED",
        "tests/test_demo.py::TestGroup::test_level": "PASSED",
    }
    assert "needs --runslow" in found.text
    assert "level 3" in found.text
    assert next(line for line in found.text.splitlines() if " call     dist/" in line).endswith("::test_long")

    # Node ids of plain pytest and of this run; the output of --collect-only.
    found = run("--collect-only", f"--deselect={TWO}[1]", "--deselect", "tests/test_demo.py::TestGroup::test_long")
    assert "<Function test_two[1]>" not in found.text
    assert "test_long" not in found.text
    for line in (
        "    <Module tests/test_demo.py>",
        "      <Function test_two[2]>",
        "        What it is for.",
        "      <Class TestGroup>",
    ):
        assert line in found.text.splitlines()
    [target] = {line.split()[1][:-1] for line in found.text.splitlines() if "<TargetNode" in line}

    node = f"dist/demo-1.0-py3-none-any.whl::{target}::{TWO}[2]"
    found = run(node, "--tb=line")
    assert found.nodes == {f"{TWO}[2]": "FAILED"}
    [location] = [line for line in found.text.splitlines() if line.endswith("py:20: assert 2 == 1")]
    assert location.startswith(str(pytester.path / "tests" / "test_demo.py"))


def test_output_of_phases(run_wheels: Run, wheel: Path) -> None:
    """The output of ``--setup-show`` precedes the outcome of the test, as in an ordinary run."""
    result = run_wheels("--wheel", wheel, "--setup-show", "-q", "-k", "test_one or test_two", "--tb=short")
    result.stdout.fnmatch_lines(
        [
            "    SETUP    M shared",
            "*tests/test_demo.py::test_one (fixtures used: *shared)*",
            ".",
            "*SETUP    F value?1?",
            "*tests/test_demo.py::test_two?1? (fixtures used: shared, value)*",
            ".",
            "*TEARDOWN F value?1?",
            "*tests/test_demo.py::test_two?2? *",
            "F",
            "    TEARDOWN M shared",
            "tests/test_demo.py:20: in test_two",
        ]
    )


def test_failures_of_the_last_run(run_cached: Callable[..., RunOutput]) -> None:
    Path("tests/test_more.py").write_text(
        "def test_first(): assert 0\ndef test_second(): assert 0\ndef test_good(): pass\n"
    )
    first, second = "tests/test_more.py::test_first", "tests/test_more.py::test_second"
    found = run_cached("--maxfail=2")
    assert found.only("FAILED") == [f"{TWO}[2]", first]
    assert second not in found.nodes
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "stopping after 2 failures" in found.text

    assert sorted(run_cached("--lf").nodes) == [f"{TWO}[2]", first]

    found = run_cached("--ff", "-x")
    assert found.nodes == {f"{TWO}[2]": "FAILED"}

    found = run_cached("--sw")
    assert found.only("FAILED") == [f"{TWO}[2]"]
    assert first not in found.nodes
    found = run_cached("--sw-skip", "--sw")
    assert found.only("FAILED") == [f"{TWO}[2]", first]
    assert ONE not in found.nodes

    Path("tests/test_new.py").write_text("def test_new(): pass\n")
    found = run_cached("--nf")
    assert next(iter(found.nodes)) == "tests/test_new.py::test_new"
    assert len(found.only("FAILED")) == 3
    # The cache is the host's, at its usual path. The target's own is not in the tree.
    assert sorted(path.parent.name for path in Path().rglob("CACHEDIR.TAG")) == [".pytest_cache"]


def test_ini_values_from_the_command_line(run: Callable[..., RunOutput]) -> None:
    found = run("-o", "site=elsewhere", "--tb=short", "-k", "test_one", "-W", "error::demo.DemoWarning")
    assert found.only("FAILED") == [ONE]
    assert "assert 'elsewhere' == 'from ini'" in found.text
    assert "Failed to import filter module" not in found.text


def test_strict_mode_and_names_that_only_the_target_has(
    run: Callable[..., RunOutput], pytester: pytest.Pytester
) -> None:
    """Options, keys, markers, filters and required plugins of the project, in strict mode, from ``addopts``."""
    Path("pyproject.toml").write_text(STRICT)
    Path("tests/test_warns.py").write_text(
        "import warnings\nimport demo\nimport pytest\n"
        "def test_warns():\n"
        "    with pytest.raises(demo.DemoWarning): warnings.warn('own', demo.DemoWarning)\n"
    )
    found = run("-rP", f"--deselect={TWO}[2]")
    assert found.code == 0, found.text
    assert set(found.nodes.values()) == {"PASSED"}
    assert {"tests/test_demo.py::test_slow", "tests/test_warns.py::test_warns"} <= set(found.nodes)
    assert "level 2" in found.text
    assert "tests coverage" in found.text
    assert str(Path("/demo/__init__.py")) in found.text
    assert "Failed to import filter module" not in found.text
    assert "PytestConfigWarning" not in found.text


def test_plugin_of_the_requirements(run: Callable[..., RunOutput]) -> None:
    found = run("--wheel-requires", "pytest-cov", "--cov=demo", "--runslow", "-k", "slow")
    assert found.nodes == {"tests/test_demo.py::test_slow": "PASSED"}
    assert "tests coverage" in found.text


def test_arguments_in_a_file(run_wheels: Run, wheel: Path) -> None:
    """As pytest reads them: one per line, also the wheel, and further files."""
    Path("more.txt").write_text("-k\nnot test_slow\n")
    Path("args.txt").write_text(
        f"--wheel={wheel}\n--wheel-select=WHL101\n-v\n--deselect\n{TWO}\n--level\n3\n-rP\n@more.txt\n"
    )
    found = run_output(run_wheels("@args.txt"))
    assert found.code == 0, found.text
    names = {name for name in found.nodes if name.startswith("tests/")}
    assert names == {ONE, *(f"tests/test_demo.py::TestGroup::test_{name}" for name in ("level", "long"))}
    assert "level 3" in found.text
    missing = run_wheels("@missing.txt")
    assert missing.ret == pytest.ExitCode.USAGE_ERROR
    assert "missing.txt" in missing.stderr.str()


def test_conftest_that_deselects(run: Callable[..., RunOutput]) -> None:
    """Before any test has run, pytest's terminal reporter needs the session to count deselected tests."""
    Path("tests/conftest.py").write_text(
        f"{CONFTEST}    gone = [item for item in items if 'test_two' in item.name]\n"
        "    config.hook.pytest_deselected(items=gone)\n"
        "    items[:] = [item for item in items if item not in gone]\n"
    )
    found = run("--runslow")
    assert found.code == 0, found.text
    assert ONE in found.nodes
    assert not any(name.startswith(TWO) for name in found.nodes)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--runsolw"], "unrecognized arguments: --runsolw"),
        (["--level", "high"], "argument --level: invalid int value: 'high'"),
        (["tests/missing.py"], "file or directory not found: tests/missing.py"),
        (["tests/test_demo.py::test_none"], f"{Path('tests/test_demo.py')}::test_none"),
        (["-o", "site"], "site"),
    ],
)
def test_misspelled(run: Callable[..., RunOutput], args: list[str], message: str) -> None:
    found = run(*args)
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert message in found.text
    assert found.nodes == {}


def test_misspelled_in_strict_mode(run: Callable[..., RunOutput]) -> None:
    Path("pyproject.toml").write_text(INI.replace("site =", "sight ="))
    found = run()
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "Unknown config option: sight" in found.text

    Path("pyproject.toml").write_text(INI.replace("device(", "devise("))
    found = run()
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert found.nodes["tests/test_demo.py"] == "FAILED"
    assert "'device' not found in `markers`" in found.text


@pytest.mark.parametrize("args", [["-s"], ["--capture=no"], ["--capture", "tee-sys"], ["--pdb"], ["--trace"], ["-xs"]])
def test_refused_with_a_fix(run: Callable[..., RunOutput], args: list[str]) -> None:
    found = run(*args)
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "cannot be used with --wheel" in found.text
    assert "Fix: use -rP" in found.text
