"""The host's pytest imports nothing of the user's: each module logs its import with the process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import COMMAND, Run

#: First lines of every module of the user's. The target's interpreter has another prefix than the host's.
MARK = """
import os, sys
with open({log!r}, "a") as log:
    log.write(__name__ + " " + sys.prefix + " " + os.environ.get("PYTEST_XDIST_WORKER", "") + "\\n")
"""


@pytest.fixture
def log(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose modules write their names and prefixes to the returned log."""
    log = pytester.path / "imports.log"
    mark = MARK.format(log=str(log))
    root = pytester.mkdir("project")
    build_wheel(root / "dist", "pkg", files={"pkg/__init__.py": f"{mark}\nclass Warn(UserWarning):\n    pass\n"})
    for name in ("pkg/__init__.py", "src/pkg/__init__.py", "early.py", "late.py", "named.py", "filelock.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        text = "class Warn(UserWarning):\n    pass\n"
        (root / name).write_text(f"{mark}\n{text}", encoding="utf-8")
    (root / "tests").mkdir()
    (root / "conftest.py").write_text(f"{mark}\npytest_plugins = ['named']\n", encoding="utf-8")
    (root / "tests" / "conftest.py").write_text(f"{mark}\n", encoding="utf-8")
    (root / "tests" / "test_it.py").write_text(
        f"{mark}\nimport warnings\nimport pkg\n\ndef test_it(request):\n"
        "    assert request.config.pluginmanager.has_plugin('named')\n\n"
        "def test_warn():\n    warnings.warn('from the wheel', pkg.Warn)\n",
        encoding="utf-8",
    )
    os.chdir(root)
    return log


def marks(log: Path) -> tuple[set[str], set[str]]:
    """Return the modules that the host imported, and those that a target imported."""
    lines = [line.split(" ") for line in log.read_text(encoding="utf-8").splitlines()]
    return (
        {name for name, prefix, *_ in lines if prefix == sys.prefix},
        {name for name, prefix, *_ in lines if prefix != sys.prefix},
    )


ARGS = ("--wheel=dist", "--wheel-select=WHL201", "-rA")


def test_neither_conftest_nor_tests_nor_package(log: Path, run_wheels: Run) -> None:
    """None is imported, although all are importable: `python -m pytest` puts the root directory on ``sys.path``."""
    Path("pytest.ini").write_text(
        "[pytest]\npythonpath = . src\nusefixtures = tmp_path\nfilterwarnings = default\n", encoding="utf-8"
    )
    result = run_wheels(*ARGS, "tests", "--doctest-modules")
    result.assert_outcomes(passed=5, warnings=1)
    result.stdout.fnmatch_lines(["*test_it.py:*: Warn: from the wheel"])
    host, target = marks(log)
    assert host == set()
    assert {"conftest", "named", "pkg", "test_it"} <= target


def test_nothing_is_imported_by_workers_of_xdist(log: Path, run_wheels: Run) -> None:
    Path("pytest.ini").write_text("[pytest]\npythonpath = . src\n", encoding="utf-8")
    result = run_wheels(*ARGS, "tests", "-n1")
    result.assert_outcomes(passed=5, warnings=1)
    host, target = marks(log)
    assert host == set()
    assert {"conftest", "pkg", "test_it"} <= target


def test_nothing_needs_to_be_importable(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """Warning filters, fixtures, options and plugins name modules that only the target has."""
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": "class Warn(UserWarning):\n    pass\n"})
    pytester.makeini("[pytest]\nusefixtures = own\nfilterwarnings = error::pkg.Warn\n")
    pytester.makeconftest("import pkg, pytest\n@pytest.fixture\ndef own():\n    return pkg\n")
    pytester.makepyfile(
        test_it="""
        import warnings
        import pkg

        def test_it(own):
            with_error = False
            try:
                warnings.warn("x", pkg.Warn)
            except pkg.Warn:
                with_error = True
            assert with_error
        """
    )
    result = run_wheels(*ARGS, "test_it.py")
    result.assert_outcomes(passed=4)
    assert "Failed to import" not in result.stdout.str() + result.stderr.str()


#: Everything that pytest imports before it loads the plugins of entry points.
EARLY = """
[pytest]
pythonpath = .
addopts = -p early
required_plugins = pytest-that-only-the-target-has
filterwarnings =
    error
    ignore:x:pkg.Warn
"""


@pytest.mark.parametrize("parallel", [(), ("-n1",)], ids=["serial", "xdist"])
def test_the_command_prevents_early_imports(
    log: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, parallel: tuple[str, ...]
) -> None:
    """`-p` on the command line, in `addopts` and `PYTEST_ADDOPTS`; `PYTEST_PLUGINS`; `required_plugins`; warning filters."""
    Path("pytest.ini").write_text(EARLY, encoding="utf-8")
    required = build_wheel(
        Path("tools"),
        "pytest-that-only-the-target-has",
        files={"only_there.py": ""},
        entry_points={"pytest11": {"only": "only_there"}},
    )
    Path("tests/test_it.py").write_text(
        """
import warnings, pkg, pytest

def test_plugins(request):
    for name in ("early", "late", "named", "only"):
        assert request.config.pluginmanager.has_plugin(name), name

def test_filters():
    warnings.warn("x", pkg.Warn)
    with pytest.raises(UserWarning):
        warnings.warn("y")
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTEST_ADDOPTS", "-plate")
    monkeypatch.setenv("PYTEST_PLUGINS", "named")
    Path("conftest.py").unlink()
    args = (f"--wheel-python={sys.executable}", f"--wheel-requires={required}", "-pno:cacheprovider", *ARGS, "tests")
    result = pytester.run(COMMAND, "test", *args, *parallel, timeout=120)
    result.assert_outcomes(passed=5)
    host, target = marks(log)
    assert host == set()
    assert {"early", "late", "named", "pkg"} <= target


@pytest.mark.parametrize("option", ["--wheelhouse=x", "--wheel-house"])
def test_options_of_other_plugins_do_not_disable_required_plugins(pytester: pytest.Pytester, option: str) -> None:
    pytester.makepyfile(
        other="""
            def pytest_addoption(parser):
                parser.addoption("--wheelhouse")
                parser.addoption("--wheel-house", action="store_true")
            """
    )
    pytester.makeini("[pytest]\nrequired_plugins = pytest-that-nobody-has\n")
    result = pytester.runpytest_subprocess("-p", "other", option)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*Missing required plugins: pytest-that-nobody-has*"])
