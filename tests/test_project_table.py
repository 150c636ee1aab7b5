"""``[tool.wheelcheck]`` in pyproject.toml has the keys of the pytest configuration, without ``wheel_``."""

from __future__ import annotations

import subprocess
import sys

import pytest
from builders import build_wheel
from nodes import Run, run_output

from pytest_wheelcheck.plugin.options import INI_KEYS
from pytest_wheelcheck.plugin.project_table import _KEYS, _TYPES


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    build_wheel(
        pytester.path / "dist", "demo", files={"demo.py": "", "demo/__init__.py": "", "demo/broken.py": "1 / 0\n"}
    )
    (pytester.path / "test_it.py").write_text("def test_it(): pass\n")
    return pytester


def table(project: pytest.Pytester, text: str, *, ini: str = "") -> None:
    project.path.joinpath("pyproject.toml").write_text(f"[tool.wheelcheck]\n{text}\n{ini}")


def test_values(project: pytest.Pytester, run_wheels: Run) -> None:
    table(
        project,
        'import-ignore = ["demo.broken"]\nselect = ["WHL101"]\ntest_timeout = 77\nmax_size = "1kB"\nwine = false',
    )
    found = run_output(run_wheels("--wheel", "dist", "-v", "--strict-config", "test_it.py"))
    assert found.code == 0, found.text
    assert "WHL101-zip PASSED" in found.text
    assert "WHL102" not in found.text
    assert "demo.broken" not in found.text
    # The command line overrides it, as it overrides the configuration of pytest.
    found = run_output(run_wheels("--wheel", "dist", "-v", "-o", "wheel_import_ignore=", "test_it.py"))
    assert "demo.broken" in found.text


def test_contributors_without_the_plugin(project: pytest.Pytester) -> None:
    """Nothing in the configuration of pytest is unknown to them."""
    table(project, 'groups = ["test"]', ini='[tool.pytest.ini_options]\naddopts = "--strict-config"\n')
    argv = [sys.executable, "-m", "pytest", "-p", "no:wheelcheck", "-p", "no:hypothesispytest", "-q", "test_it.py"]
    done = subprocess.run(argv, cwd=project.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('selekt = ["WHL1"]', "there is no key selekt\nFix: did you mean select?"),
        ("zzz = 1", "there is no key zzz\nFix: the keys are apt_source, "),
        ('select = "WHL1"', "select is 'WHL1'\nFix: write a list of strings"),
        ("select = [1]", "select is [1]\nFix: write a list of strings"),
        ('test_timeout = "soon"', "test_timeout is 'soon'\nFix: write a number"),
        ("test_timeout = true", "test_timeout is True\nFix: write a number"),
        ("wine = 1", "wine is 1\nFix: write true or false"),
    ],
)
@pytest.mark.parametrize("wheels", [True, False])
def test_mistakes(project: pytest.Pytester, run_wheels: Run, text: str, expected: str, wheels: bool) -> None:
    table(project, text)
    found = run_output(run_wheels(*(["--wheel", "dist"] if wheels else []), "test_it.py"))
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert f"[tool.wheelcheck] of pyproject.toml: {expected}" in found.text
    assert "Traceback" not in found.text


def test_a_key_that_is_set_twice(project: pytest.Pytester, run_wheels: Run) -> None:
    table(project, 'select = ["WHL1"]', ini='[tool.pytest.ini_options]\nwheel_select = ["WHL1"]\n')
    found = run_output(run_wheels("--wheel", "dist", "test_it.py"))
    assert found.code == pytest.ExitCode.USAGE_ERROR
    assert "select is also set as wheel_select in the configuration of pytest" in found.text


def test_every_key_has_a_type_that_is_known() -> None:
    assert len(_KEYS) == len(INI_KEYS)
    for key in INI_KEYS:
        for kind in key.type if isinstance(key.type, tuple) else (key.type,):
            assert kind in _TYPES, key.name


@pytest.mark.parametrize("text", ["[tool]\nwheelcheck = 1", '[project]\nname = "wheelcheck"'])
def test_other_files(project: pytest.Pytester, text: str) -> None:
    """No table, and a file that only has the word."""
    (project.path / "pyproject.toml").write_text(text)
    (project.path / "pytest.ini").write_text("[pytest]\n")
    result = project.runpytest_subprocess("-p", "no:hypothesispytest", "test_it.py")
    assert result.ret == (4 if "wheelcheck = 1" in text else 0)
    assert "Traceback" not in result.stderr.str()
