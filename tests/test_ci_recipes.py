"""The commands of the action, of ``docs/ci.md`` and for cibuildwheel are run exactly as they are written, in a project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomllib
from builders import build_wheel
from checks.objects import make_macho
from recipes import ROOT, action_steps, blocks, gitlab_job, shard_jobs

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32" or sys.version_info < (3, 11), reason="needs a POSIX shell and tomllib"),
]

Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which pip finds this package, which no index has yet, and installs it into an environment of its own."""
    directory = tmp_path_factory.mktemp("recipes")
    pip = [sys.executable, "-m", "pip"]
    links = directory / "links"
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", links, ROOT], check=True)
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    found = os.environ.get("PIP_FIND_LINKS", "")
    return {
        **os.environ,
        "PATH": f"{directory / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_FIND_LINKS": f"{found} {links}".strip(),
    }


@pytest.fixture
def python(environment: dict[str, str]) -> str:
    """The interpreter of that environment."""
    found = shutil.which("python3", path=environment["PATH"])
    assert found is not None
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a wheel and a test."""
    root = tmp_path / "project"
    build_wheel(root / "dist", "demo", files={"demo.py": ""})
    (root / "tests").mkdir()
    (root / "tests" / "test_demo.py").write_text("import demo\n\ndef test_demo(): pass\n")
    return root


@pytest.fixture
def shell(environment: dict[str, str], project: Path) -> Shell:
    """Run commands as a CI service does: the first one that fails ends them."""

    def run(commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
        bash = shutil.which("bash")
        assert bash is not None
        done = subprocess.run(
            [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", commands],
            cwd=project,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        print(done.stdout, done.stderr)
        return done

    return run


@pytest.mark.parametrize("sound", [True, False])
def test_the_action(shell: Shell, project: Path, python: str, sound: bool) -> None:
    if not sound:
        (project / "tests" / "test_demo.py").write_text("def test_demo(): assert 0\n")
    inputs = {"wheels": "dist\n\n", "tests": "tests", "options": "--wheel-strict\n-q -x\n"}
    install, test = action_steps({**inputs, "temp": str(project.parent / "temp"), "python": python})
    assert shell(install[0], GITHUB_ACTION_PATH=str(ROOT), **install[1]).returncode == 0
    done = shell(test[0], **test[1])
    assert done.returncode == (0 if sound else 1)
    assert sorted(path.name for path in (project / "wheelcheck-report").iterdir()) == [
        "junit.xml",
        "wheels.html",
        "wheels.json",
    ]
    assert "test_demo" in (project / "wheelcheck-report" / "junit.xml").read_text()
    assert (project.parent / "temp" / "wheelcheck-cache").is_dir()


def test_the_defaults_of_the_action(shell: Shell, project: Path, python: str) -> None:
    install, test = action_steps({"temp": str(project.parent / "temp"), "python": python})
    assert shell(install[0], GITHUB_ACTION_PATH=str(ROOT), **install[1]).returncode == 0
    done = shell(test[0], **test[1])
    assert done.returncode == 0
    assert "test_demo" in (project / "wheelcheck-report" / "junit.xml").read_text()


def test_gitlab(shell: Shell, project: Path) -> None:
    job = gitlab_job()
    variables = {name: text.replace("$CI_PROJECT_DIR", str(project)) for name, text in job["variables"].items()}
    assert shell("\n".join(job["script"]), **variables).returncode == 0
    for path in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"], *job["cache"]["paths"]):
        assert (project / path).exists(), path


def test_any_other_system(shell: Shell, project: Path) -> None:
    (commands,) = blocks("Any other system", "sh")
    assert shell(commands).returncode == 0
    assert (project / "wheels.html").is_file()


def test_several_hosts(shell: Shell, project: Path) -> None:
    """A wheel that none of the hosts can run is a failure of the whole."""
    assert shell(blocks("Any other system", "sh")[0]).returncode == 0
    (commands,) = blocks("Several hosts", "sh")
    assert shell(commands).returncode == 0
    native = make_macho(exports=["PyInit_demo_native"])
    files: dict[str, bytes | str] = {"demo.py": "", "demo_native.cpython-312-darwin.so": native}
    build_wheel(project / "dist", "demo", files=files, tags=["cp312-cp312-macosx_11_0_arm64"])
    done = shell(commands)
    assert done.returncode == 1
    assert "macosx_11_0_arm64" in done.stdout + done.stderr


def test_shards(shell: Shell, project: Path, python: str) -> None:
    """The jobs divide two wheels, and the last one joins their reports; it fails if one of them is missing."""
    tag = f"cp3{sys.version_info[1]}-none-any"
    build_wheel(project / "dist", "demo", files={"demo.py": ""}, tags=[tag])
    jobs = shard_jobs()
    action = jobs["test"]["steps"][-1]["with"]
    for index, shard in enumerate(jobs["test"]["strategy"]["matrix"]["shard"]):
        options = action["options"].replace("${{ matrix.shard }}", shard)
        name = action["report"].replace("${{ strategy.job-index }}", str(index))
        inputs = {"tests": action["tests"], "options": options, "temp": str(project.parent / "temp"), "python": python}
        install, test = action_steps(inputs)
        if not index:
            assert shell(install[0], GITHUB_ACTION_PATH=str(ROOT), **install[1]).returncode == 0
        assert shell(test[0], **test[1]).returncode == 0
        # As the artifact of the job.
        shutil.copytree(project / "wheelcheck-report", project / "reports" / name)
    commands = "\n".join(step["run"] for step in jobs["merge"]["steps"] if "run" in step)
    assert shell(commands).returncode == 0
    assert (project / "wheels.html").is_file()
    shutil.rmtree(project / "reports" / "wheelcheck-1")
    done = shell(commands)
    assert done.returncode == 1
    assert "shard 2 of 5 is missing: pass its report" in done.stdout


def test_cibuildwheel(shell: Shell, project: Path) -> None:
    (block,) = blocks("Move the configuration", "toml", ROOT / "docs" / "howto" / "cibuildwheel.md")
    table: Any = tomllib.loads(block)["tool"]["cibuildwheel"]
    assert shell(f"python3 -m pip install {' '.join(table['audit-requires'])}").returncode == 0
    (wheel,) = (project / "dist").iterdir()
    assert shell(table["audit-command"].format(wheel=wheel)).returncode == 0
