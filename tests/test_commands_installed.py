"""The commands of the pages that install this package, as they are written, from a directory: no index has it yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typed import ROOT, SCRIPTS, make_project, typed

pytestmark = [pytest.mark.long, pytest.mark.network]


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel of this package."""
    directory = tmp_path_factory.mktemp("links")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(directory), str(ROOT)]
    subprocess.run(pip, check=True, timeout=300)
    return directory


@pytest.fixture(autouse=True)
def own(links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories of the installers that are empty; return that of the commands that they install."""
    # uv would take an earlier wheel of the same version from its cache.
    for name in ("UV_CACHE_DIR", "UV_TOOL_DIR", "UV_TOOL_BIN_DIR", "PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name, separator in (("UV_FIND_LINKS", ","), ("PIP_FIND_LINKS", " ")):
        monkeypatch.setenv(name, f"{links}{separator}{os.environ.get(name, '')}".rstrip(separator))
    return tmp_path / "uv_tool_bin_dir"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a wheel for the running interpreter, and a test."""
    return make_project(tmp_path / "project")


def test_pip(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=300)
    scripts = tmp_path / "venv" / SCRIPTS.name
    typed("pip install pytest-wheelcheck", tmp_path, PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}")
    for name in ("wheelcheck", "pytest-wheelcheck", "pytest"):
        assert shutil.which(name, path=scripts), name


@pytest.mark.parametrize(
    "command",
    ["uvx pytest-wheelcheck test --wheel dist tests/", "uvx pytest-wheelcheck test --wheel dist"],
)
def test_uvx(project: Path, command: str) -> None:
    assert "1 test passed; 2 checks passed" in typed(command, project)


def test_pipx(project: Path) -> None:
    assert "pkg-1.0-" in typed("pipx run pytest-wheelcheck doctor dist", project)


def test_a_tool_of_uv(own: Path, tmp_path: Path) -> None:
    typed("uv tool install pytest-wheelcheck", tmp_path)
    for name in ("wheelcheck", "pytest-wheelcheck"):
        done = subprocess.run([own / name, "--version"], check=True, capture_output=True, text=True, timeout=60)
        assert done.stdout.split()[-1][0].isdigit()
