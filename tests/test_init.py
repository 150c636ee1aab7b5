"""``wheelcheck init``: a configuration and a workflow from pyproject.toml; nothing that exists is changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import build_wheel
from nodes import COMMAND

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WORKFLOW = ".github/workflows/test-wheels.yml"

PROJECTS = {
    "maturin": '[build-system]\nrequires = ["maturin>=1"]\nbuild-backend = "maturin"\n',
    "setuptools-rust": '[build-system]\nrequires = ["setuptools-rust >= 1"]\nbuild-backend = "setuptools.build_meta"\n',
    "scikit-build-core": '[build-system]\nrequires = ["scikit_build_core"]\nbuild-backend = "scikit_build_core.build"\n',
    "pure": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
}


def init(directory: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "init", *args], cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "builder"),
    [
        ("maturin", "PyO3/maturin-action"),
        ("setuptools-rust", "pypa/cibuildwheel"),
        ("scikit-build-core", "pypa/cibuildwheel"),
        ("pure", "pipx run build"),
    ],
)
def test_each_kind_of_project(tmp_path: Path, kind: str, builder: str) -> None:
    (tmp_path / "tests").mkdir()
    before = PROJECTS[kind] + '\n[project]\nname = "demo"\n\n[dependency-groups]\ndev = ["ruff"]\ntest = ["pytest"]\n'
    (tmp_path / "pyproject.toml").write_text(before)
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    after = (tmp_path / "pyproject.toml").read_text()
    assert after.startswith(before)
    assert tomllib.loads(after)["tool"]["wheelcheck"] == {"groups": ["test"]}
    # What was written is on the screen.
    assert '+groups = ["test"]' in done.stdout
    text = (tmp_path / WORKFLOW).read_text()
    workflow: Any = yaml.safe_load(text)
    assert builder in text
    assert set(workflow["jobs"]) == {"build", "test-wheels", "merge"}
    assert "macos-15" in str(workflow["jobs"]["test-wheels"]) or kind == "pure"
    assert "--wheel-report=wheels.html tests" in text


def test_nothing_that_exists_is_changed(tmp_path: Path) -> None:
    own = PROJECTS["pure"] + '\n[tool.wheelcheck]\nrequires = ["own"]\n'
    (tmp_path / "pyproject.toml").write_text(own)
    (tmp_path / WORKFLOW).parent.mkdir(parents=True)
    (tmp_path / WORKFLOW).write_text("mine")
    done = init(tmp_path)
    assert done.returncode == 0
    assert "nothing was written" in done.stdout
    assert (tmp_path / "pyproject.toml").read_text() == own
    assert (tmp_path / WORKFLOW).read_text() == "mine"


def test_showing_only(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECTS["maturin"])
    done = init(tmp_path, "--dry-run")
    assert "+[tool.wheelcheck]" in done.stdout
    assert (tmp_path / "pyproject.toml").read_text() == PROJECTS["maturin"]
    assert not (tmp_path / ".github").exists()


def test_line_ends_and_extras(tmp_path: Path) -> None:
    """The line ends of the file stay, and an extra for tests is taken where there is no group."""
    text = """[project]
name = "demo"
[project.scripts]
"a\\"b" = "x:y"
[project.optional-dependencies]
test = ["a[b]; python_version > '3'"]"""
    (tmp_path / "pyproject.toml").write_bytes(text.replace("\n", "\r\n").encode())
    assert init(tmp_path).returncode == 0
    data = (tmp_path / "pyproject.toml").read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert tomllib.loads(data.decode())["tool"]["wheelcheck"]["requires"] == ["a[b]; python_version > '3'"]


@pytest.mark.parametrize("content", [None, b"[broken", b"\xff"])
def test_no_project(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_bytes(content)
    done = init(tmp_path)
    assert done.returncode == 4
    assert "pyproject.toml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".github").exists()


def test_the_next_step(tmp_path: Path) -> None:
    """The command that it names works with what it wrote."""
    text = '[project]\nname = "demo"\nversion = "1.0"\n[dependency-groups]\ntest = ["six"]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_demo.py").write_text("import demo, six\n\ndef test_demo(): pass\n")
    build_wheel(tmp_path / "dist", "demo", files={"demo.py": ""})
    done = init(tmp_path)
    assert "run `wheelcheck test --wheel=dist`" in done.stdout
    argv = [COMMAND, "test", "--wheel=dist", f"--wheel-python={sys.executable}", "-v", "-p", "no:hypothesispytest"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::tests/test_demo.py::test_demo PASSED" in done.stdout


@pytest.mark.parametrize(
    ("requires", "versions"),
    [
        ('requires-python = ">=3.10"\n', ["3.10", "3.11", "3.12", "3.13", "3.14"]),
        ('requires-python = ">=3.12,<3.14"\n', ["3.12", "3.13"]),
        ("", ["3.12", "3.13", "3.14"]),
    ],
)
def test_maturin_builds_for_the_versions_of_requires_python(tmp_path: Path, requires: str, versions: list[str]) -> None:
    (tmp_path / "pyproject.toml").write_text(f'{PROJECTS["maturin"]}\n[project]\nname = "demo"\n{requires}')
    assert init(tmp_path).returncode == 0
    steps = yaml.safe_load((tmp_path / WORKFLOW).read_text())["jobs"]["build"]["steps"]
    assert steps[1]["with"]["python-version"].split() == versions


def test_another_workflow_that_builds_wheels_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECTS["maturin"])
    directory = (tmp_path / WORKFLOW).parent
    directory.mkdir(parents=True)
    (directory / "CI.yml").write_text("jobs: {linux: {steps: [{uses: PyO3/maturin-action@v1}]}}\n")
    (directory / "lint.yml").write_text("jobs: {lint: {steps: [{run: ruff check}]}}\n")
    done = init(tmp_path)
    assert ".github/workflows/CI.yml builds wheels, too: remove one of the two workflows" in done.stdout
    assert "lint.yml" not in done.stdout
