"""``wheelcheck init`` in projects with ``[tool.cibuildwheel]``: what it takes from there, and what it says about it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import build_wheel
from nodes import COMMAND
from test_init import WORKFLOW, init

from pytest_wheelcheck.cli.cibuildwheel_builds import clauses, pairs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCIKIT = """\
[build-system]
requires = ["scikit-build-core>=0.10", "nanobind>=2.0"]
build-backend = "scikit_build_core.build"

[project]
name = "demo"
version = "1.0"
requires-python = ">=3.10"

[dependency-groups]
dev = ["ruff"]
test = ["pytest", "hypothesis"]

[tool.cibuildwheel]
build-verbosity = 1
build = "cp3{10..14}-* cp314t-*"
skip = ["*-musllinux_i686", "*-win32"]
test-command = ["cd {project} && pytest -m 'not slow' tests", "python -c \\"import demo\\""]
test-groups = "test"
test-environment = { DEMO_DEBUG = "1" }

[tool.cibuildwheel.linux]
archs = ["x86_64", "aarch64"]

[[tool.cibuildwheel.overrides]]
select = "*-musllinux*"
test-command = ""
"""
RUST = """\
[build-system]
requires = ["setuptools>=77", "setuptools-rust>=1.9"]
build-backend = "setuptools.build_meta"

[project]
name = "demo"
version = "1.0"
requires-python = ">=3.12"

[project.optional-dependencies]
fast = ["numpy"]

[tool.cibuildwheel]
skip = "*-musllinux_* cp*t-*"
test-requires = "pytest>=8 hypothesis -r {project}/requirements/test.txt"
test-extras = "fast"
test-command = "python -m pytest {package}/tests -x"
test-skip = "*-macosx_x86_64"
"""
MESON = """\
[build-system]
requires = ["meson-python>=0.16", "cython>=3"]
build-backend = "mesonpy"

[project]
name = "demo"
version = "1.0"
requires-python = ">=3.11"

[tool.cibuildwheel]
enable = ["pypy"]
skip = "*-musllinux* *-win* cp31{3,4,5}*"
archs = "native"
test-requires = ["pytest", "pytest-xdist >= 3"]
test-command = "pytest --pyargs demo -k 'a and not b' $EXTRA"
"""
SETUPTOOLS = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[tool.cibuildwheel]
skip = "*-win32"
test-command = "make -C {project} check"
"""


def make(directory: Path, text: str) -> None:
    (directory / "pyproject.toml").write_text(text)
    (directory / "tests").mkdir()


def wheelcheck_table(directory: Path) -> Any:
    return tomllib.loads((directory / "pyproject.toml").read_text())["tool"]["wheelcheck"]


def jobs(directory: Path) -> Any:
    return yaml.safe_load((directory / WORKFLOW).read_text())["jobs"]


def workflow_command(directory: Path) -> str:
    """Return the command of the job that tests wheels, behind its options of reports."""
    (command,) = [step["run"] for step in jobs(directory)["test-wheels"]["steps"] if "--wheel=" in step.get("run", "")]
    return str(command).partition("wheels.html")[2].strip()


def test_a_project_of_scikit_build_core(tmp_path: Path) -> None:
    make(tmp_path, SCIKIT)
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pyproject.toml").read_text().startswith(SCIKIT)
    assert wheelcheck_table(tmp_path) == {
        "groups": ["test"],
        "expect": [
            "cp310-cp314 cp314t: manylinux_x86_64 musllinux_x86_64 manylinux_aarch64 musllinux_aarch64 macosx_arm64 win_amd64",
            "others",
        ],
    }
    assert workflow_command(tmp_path) == "-m 'not slow' tests"
    build = jobs(tmp_path)["build"]
    assert build["strategy"]["matrix"]["os"] == ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15", "windows-2025"]
    # Each Linux runner builds for its own architecture, and not for both under an emulator.
    expression = "${{ matrix.os == 'ubuntu-24.04-arm' && 'aarch64' || 'x86_64' }}"
    assert build["steps"][1]["env"] == {"CIBW_ARCHS_LINUX": expression}
    shown = done.stdout.partition("Of [tool.cibuildwheel]:\n")[2].splitlines()
    assert shown == [
        "  test-groups: now groups in [tool.wheelcheck]",
        "  build, skip, archs: now expect in [tool.wheelcheck], 36 wheels",
        "  test-command: the workflow runs wheelcheck test -m 'not slow' tests",
        "  test-command: not taken: python -c 'import demo'",
        "  test-environment: not taken: set the variables in the job",
        "  test keys of overrides: not taken: the key overrides of [tool.wheelcheck] has options for some targets",
        "  Remove test-command, or the tests run on each builder, too",
        "Next: build wheels into dist/, then run `wheelcheck test --wheel=dist -m 'not slow' tests`",
    ]


def test_a_project_of_setuptools_rust(tmp_path: Path) -> None:
    make(tmp_path, RUST)
    done = init(tmp_path)
    assert wheelcheck_table(tmp_path) == {
        "requires": ["pytest>=8", "hypothesis", "-r requirements/test.txt"],
        "extras": ["fast"],
        "expect": ["cp312-cp315: manylinux_x86_64 manylinux_aarch64 macosx_arm64 win_amd64 win32", "others"],
    }
    assert workflow_command(tmp_path) == "tests -x"
    assert "test-skip: not taken: use the marker wheel_target" in done.stdout


def test_a_project_of_meson_python(tmp_path: Path) -> None:
    make(tmp_path, MESON)
    done = init(tmp_path)
    assert wheelcheck_table(tmp_path) == {
        "requires": ["pytest", "pytest-xdist >= 3"],
        "expect": [
            "cp311-cp312 pp311 pp312: manylinux_x86_64 manylinux_aarch64 macosx_arm64",
            "others",
        ],
    }
    # cibuildwheel fails on a runner that has nothing to build.
    assert jobs(tmp_path)["build"]["strategy"]["matrix"]["os"] == ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15"]
    # A variable of the shell has another value there, or none.
    assert workflow_command(tmp_path) == "tests"
    assert "test-command: not taken: pytest --pyargs demo -k 'a and not b' '$EXTRA'" in done.stdout
    assert "Remove test-command" not in done.stdout


def test_a_project_of_plain_setuptools(tmp_path: Path) -> None:
    """It does not say which Pythons it supports, and its tests are run by make."""
    make(tmp_path, SETUPTOOLS)
    (tmp_path / "setup.py").write_text("from setuptools import setup\nsetup(python_requires='>=3.12')\n")
    done = init(tmp_path)
    assert wheelcheck_table(tmp_path) == {"requires": []}
    assert "skip: not taken: write the key expect" in done.stdout
    assert "test-command: not taken: make -C '{project}' check" in done.stdout
    assert workflow_command(tmp_path) == "tests"


@pytest.mark.parametrize(
    ("modules", "builder"), [("ext_modules=[Extension('a', ['a.c'])]", "pypa/cibuildwheel"), ("", "pipx run build")]
)
def test_setup_py_shows_whether_there_are_extension_modules(tmp_path: Path, modules: str, builder: str) -> None:
    """cibuildwheel refuses to build a wheel that is for every platform."""
    make(tmp_path, SETUPTOOLS.partition("[tool")[0])
    (tmp_path / "setup.py").write_text(f"from setuptools import Extension, setup\nsetup({modules})\n")
    assert init(tmp_path).returncode == 0
    assert builder in str(jobs(tmp_path)["build"]["steps"])


def test_a_workflow_of_the_project_decides_what_is_built(tmp_path: Path) -> None:
    make(tmp_path, SCIKIT)
    (tmp_path / WORKFLOW).parent.mkdir(parents=True)
    (tmp_path / WORKFLOW).write_text("mine")
    done = init(tmp_path)
    assert wheelcheck_table(tmp_path) == {"groups": ["test"]}
    assert (tmp_path / WORKFLOW).read_text() == "mine"
    assert "the workflow runs" not in done.stdout
    assert "now expect" not in done.stdout


def test_a_table_of_the_project_is_not_described_as_new(tmp_path: Path) -> None:
    text = SCIKIT + '\n[tool.wheelcheck]\nrequires = ["own"]\n'
    make(tmp_path, text)
    done = init(tmp_path)
    assert (tmp_path / "pyproject.toml").read_text() == text
    assert "pyproject.toml is left as it is" in done.stdout
    assert "now groups" not in done.stdout
    assert workflow_command(tmp_path) == "-m 'not slow' tests"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pytest", "tests"),
        ("pytest -q", "-q tests"),
        ("pytest {project}", "."),
        ("cd {package}/tests && python3 -m pytest test_a.py -n 2", "tests/test_a.py -n 2"),
        ("cd {project}/tests; pytest -x", "-x tests"),
        ("pytest --pyargs demo.tests", "--pyargs demo.tests"),
        ("pytest 'tests/test_a.py::test_b[c d]'", "'tests/test_a.py::test_b[c d]'"),
        ("pytest tests -k 'a: #b'", "tests -k 'a: #b'"),
        ("pytest {wheel}", "tests"),
        ("pytest 'unclosed", "tests"),
        ("python -m unittest", "tests"),
    ],
)
def test_what_pytest_gets(tmp_path: Path, command: str, expected: str) -> None:
    make(tmp_path, f"[tool.cibuildwheel]\ntest-command = '''{command}'''\n")
    (tmp_path / "tests" / "test_a.py").touch()
    assert init(tmp_path).returncode == 0
    assert workflow_command(tmp_path) == expected


def test_the_next_step_runs_the_tests_of_the_test_command(tmp_path: Path) -> None:
    make(
        tmp_path,
        '[project]\nname = "demo"\nversion = "1"\n[tool.cibuildwheel]\ntest-command = "pytest {project}/check"\n',
    )
    (tmp_path / "check").mkdir()
    (tmp_path / "check" / "test_demo.py").write_text("import demo\n\ndef test_demo(): pass\n")
    build_wheel(tmp_path / "dist", "demo", files={"demo.py": ""})
    done = init(tmp_path)
    assert "run `wheelcheck test --wheel=dist check`" in done.stdout
    argv = [
        COMMAND,
        "test",
        "--wheel=dist",
        "check",
        f"--wheel-python={sys.executable}",
        "-v",
        "-p",
        "no:hypothesispytest",
    ]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::check/test_demo.py::test_demo PASSED" in done.stdout


def test_other_architectures_are_emulated(tmp_path: Path) -> None:
    make(tmp_path, '[tool.cibuildwheel]\nbuild = "cp312-*"\n[tool.cibuildwheel.linux]\narchs = "auto ppc64le"\n')
    init(tmp_path)
    steps = jobs(tmp_path)["build"]["steps"]
    assert "docker/setup-qemu-action" in steps[1]["uses"]
    assert steps[2]["env"]["CIBW_ARCHS_LINUX"].endswith("&& 'aarch64' || 'x86_64 ppc64le' }}")


def test_the_clauses_name_every_wheel_once() -> None:
    wheels = {("cp39", "win32"), ("cp310", "win32"), ("cp312", "win32"), ("cp314t", "win32"), ("cp312", "win_amd64")}
    assert list(clauses(wheels)) == ["cp39-cp310 cp314t: win32", "cp312: win_amd64 win32"]


SELECTIONS: list[dict[str, Any]] = [
    {},
    {"build": "cp3{9..11}-* pp*", "enable": "pypy pypy-eol"},
    {"skip": ["*-musllinux_*", "cp31{3,4t}*"], "windows": {"archs": "all", "skip": ""}},
    {"archs": "all", "macos": {"build": "*universal2"}, "enable": ["all"]},
    {"linux": {"archs": "auto32, riscv64"}, "macos": {"archs": ["x86_64", "arm64"]}, "windows": {"archs": "auto64"}},
]


@pytest.mark.long
@pytest.mark.network
@pytest.mark.skipif(sys.version_info < (3, 11) or sys.platform != "linux", reason="needs cibuildwheel 4 on Linux")
def test_cibuildwheel_itself_lists_the_same_wheels(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "cibuildwheel==4.*", "tomli-w"], check=True)
    write = "import json, sys, tomli_w; print(tomli_w.dumps(json.load(sys.stdin)))"
    for number, own in enumerate(SELECTIONS):
        project = tmp_path / str(number)
        project.mkdir()
        data = {
            "project": {"name": "demo", "version": "1", "requires-python": ">=3.9.2"},
            "tool": {"cibuildwheel": own},
        }
        text = subprocess.run([python, "-c", write], input=json.dumps(data), capture_output=True, text=True, check=True)
        (project / "pyproject.toml").write_text(text.stdout)
        found = set()
        # As the runners of the workflow: the architecture of the machine decides what "auto" is.
        for system, machines in {"linux": ("x86_64", "aarch64"), "macos": ("aarch64",), "windows": ("x86_64",)}.items():
            for machine in machines:
                code = f"import platform; platform.machine = lambda: '{machine}'; from cibuildwheel.__main__ import main; main()"
                argv: list[str | Path] = [python, "-c", code, "--print-build-identifiers", "--platform", system, "."]
                done = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
                assert done.returncode in (0, 3), done.stderr
                found |= {(system, *line.split("-")) for line in done.stdout.split() if not line.startswith("gp")}
        own_pairs = pairs(own, ">=3.9.2")
        assert {(system, *pair) for system, each in own_pairs.items() for pair in each} == found, own
