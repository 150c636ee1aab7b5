"""Files that are in the source tree and not in the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.planning.left_out import _SETTINGS, LeftOut, find_left_out
from pytest_wheelcheck.wheels.reader import open_wheel

PYPROJECT = '[project]\nname = "tiny-term"\n'
ABSENT = "is in your source tree but not in the wheel"
LINUX = "cp312-cp312-manylinux_2_17_x86_64"


def track(root: Path, *files: str, pyproject: str = PYPROJECT) -> None:
    """Write empty files and have git track them."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if pyproject:
        (root / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)


def compare(root: Path, *files: str, tag: str = "py3-none-any", ignore: tuple[str, ...] = ()) -> LeftOut:
    """Compare the project with a wheel of these files."""
    path = build_wheel(root / "dist", "tiny-term", files=dict.fromkeys(files, b"PyInit_fast\0"), tags=[tag])
    wheel = open_wheel(path, shown="dist/it.whl", store=root / ".store")
    return find_left_out(wheel, Settings(cwd=root, root=root, wheels=(), source_ignore=ignore))


@pytest.mark.parametrize("base", ["src/", "", "python/"])
def test_every_kind_of_file(tmp_path: Path, base: str) -> None:
    names = ("__init__.py", "term.py", "sub/__init__.py", "py.typed", "term.pyi", "data/colors.json")
    track(tmp_path, *(f"{base}tinyterm/{name}" for name in names))
    found = compare(tmp_path, "tinyterm/__init__.py")
    assert found.files == {f"tinyterm/{name}": f"{base}tinyterm/{name}" for name in sorted(names[1:])}
    step = found.step()
    assert step is not None
    modules, stubs, data = step.warnings
    assert modules.startswith(
        f"{base}tinyterm/sub/__init__.py, {base}tinyterm/term.py are in your source tree but not in"
    )
    assert "correct packages or [tool.setuptools.packages.find]" in modules
    assert stubs.startswith(f"{base}tinyterm/py.typed, {base}tinyterm/term.pyi are in your source tree but not in")
    assert data.startswith(f"{base}tinyterm/data/colors.json {ABSENT}\nFix: correct [tool.setuptools.package-data]")


def test_complete_wheel(tmp_path: Path) -> None:
    names = ("tinyterm/__init__.py", "tinyterm/term.py", "tinyterm/colors.json")
    track(tmp_path, *names)
    assert compare(tmp_path, *names).step() is None


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_term.py",
        "test_term.py",
        "conftest.py",
        "_speed.c",
        "fast.pyx",
        "README.md",
        ".gitkeep",
        "meson.build",
        "docs/guide.html",
    ],
)
def test_files_for_developers(tmp_path: Path, name: str) -> None:
    track(tmp_path, "tinyterm/__init__.py", f"tinyterm/{name}")
    assert not compare(tmp_path, "tinyterm/__init__.py").files


def test_untracked_file(tmp_path: Path) -> None:
    track(tmp_path, "tinyterm/__init__.py")
    (tmp_path / "tinyterm" / "scratch.py").touch()
    assert not compare(tmp_path, "tinyterm/__init__.py").files


@pytest.mark.parametrize("repository", [False, True], ids=["no repository", "nothing added yet"])
def test_without_tracked_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, repository: bool) -> None:
    """An unpacked sdist, or a project that was just begun: the files on the disk are compared."""
    track(
        tmp_path, "src/tinyterm/__init__.py", "src/tinyterm/data/colors.json", "src/tinyterm/.cache/x.json", "notes.txt"
    )
    shutil.rmtree(tmp_path / ".git")
    # The directory for temporary files may be in a repository.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if repository:
        subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert compare(tmp_path, "tinyterm/__init__.py").files == {
        "tinyterm/data/colors.json": "src/tinyterm/data/colors.json"
    }


def change(root: Path, name: str, text: str, *, seconds: float) -> None:
    (root / name).write_bytes(text.encode())
    moment = time.time() + seconds
    os.utime(root / name, (moment, moment))


def test_a_wheel_of_older_sources(tmp_path: Path) -> None:
    """A build that was forgotten: the tests of the new code run with the old one."""
    track(
        tmp_path, "src/tinyterm/__init__.py", "src/tinyterm/term.py", "src/tinyterm/_version.py", "src/tinyterm/same.py"
    )
    names = ("__init__.py", "term.py", "_version.py", "same.py")
    built = {f"tinyterm/{name}": "value = 1\n" for name in names}
    path = build_wheel(tmp_path / "dist", "tiny-term", files=built, tags=["py3-none-any"])
    change(tmp_path, "src/tinyterm/__init__.py", "value = 1\n", seconds=-9)
    change(tmp_path, "src/tinyterm/term.py", "value = 2\n", seconds=9)
    # The build wrote it.
    change(tmp_path, "src/tinyterm/_version.py", "value = 0\n", seconds=-9)
    # Checked out on Windows.
    change(tmp_path, "src/tinyterm/same.py", "value = 1\r\n", seconds=9)
    wheel = open_wheel(path, shown="dist/it.whl", store=tmp_path / ".store")
    found = find_left_out(wheel, Settings(cwd=tmp_path, root=tmp_path, wheels=()))
    step = found.step()
    assert step is not None
    (warning,) = step.warnings
    assert warning == (
        "src/tinyterm/term.py was changed after the wheel was built\n"
        "Fix: build the wheel again. If the build changes such files, set "
        'source_ignore = ["src/tinyterm/term.py"] in [tool.wheelcheck] of pyproject.toml'
    )
    ignoring = Settings(cwd=tmp_path, root=tmp_path, wheels=(), source_ignore=("src/tinyterm/term.py",))
    assert find_left_out(wheel, ignoring).step() is None


def test_module_that_was_compiled(tmp_path: Path) -> None:
    track(tmp_path, "tinyterm/__init__.py", "tinyterm/fast.py", "tinyterm/slow.py")
    native = "tinyterm/fast.cpython-312-x86_64-linux-gnu.so"
    assert list(compare(tmp_path, "tinyterm/__init__.py", native, tag=LINUX).files) == ["tinyterm/slow.py"]


def test_namespace_packages_of_other_wheels(tmp_path: Path) -> None:
    track(tmp_path, "src/ns/one/__init__.py", "src/ns/one/left.py", "src/ns/two/__init__.py", "src/ns/two/more.py")
    assert list(compare(tmp_path, "ns/one/__init__.py").files) == ["ns/one/left.py"]


@pytest.mark.parametrize("pyproject", ['[project]\nname = "other"\n', "", "[project\n"])
def test_other_project(tmp_path: Path, pyproject: str) -> None:
    track(tmp_path, "tinyterm/__init__.py", "tinyterm/term.py", pyproject=pyproject)
    assert not compare(tmp_path, "tinyterm/__init__.py").files


def test_package_of_another_content(tmp_path: Path) -> None:
    """Most modules of the wheel are not here: the build takes them from somewhere else."""
    track(tmp_path, "tinyterm/__init__.py", "tinyterm/term.py")
    assert not compare(tmp_path, *(f"tinyterm/{name}.py" for name in ("__init__", "a", "b", "c"))).files


def test_configured_directory(tmp_path: Path) -> None:
    backend = '[build-system]\nbuild-backend = "maturin"\n[tool.maturin]\npython-source = "py/lib"\n'
    track(tmp_path, "py/lib/tinyterm/__init__.py", "py/lib/tinyterm/term.py", pyproject=PYPROJECT + backend)
    found = compare(tmp_path, "tinyterm/__init__.py")
    assert found.files == {"tinyterm/term.py": "py/lib/tinyterm/term.py"}
    assert "[tool.maturin] python-source" in found.settings[0]


#: The backend as pyproject.toml names it → where the user corrects what is missing: modules, and other files.
BACKENDS = {
    "": ("[tool.setuptools.packages.find]", "[tool.setuptools.package-data] or MANIFEST.in"),
    "setuptools.build_meta": ("[tool.setuptools.packages.find]", "[tool.setuptools.package-data] or MANIFEST.in"),
    "setuptools.build_meta:__legacy__": ("[tool.setuptools.packages.find]", "MANIFEST.in"),
    "hatchling.build": ("[tool.hatch.build.targets.wheel] packages", "[tool.hatch.build.targets.wheel] packages"),
    "maturin": ("[tool.maturin] python-source", "[tool.maturin] include"),
    "poetry.core.masonry.api": ("[tool.poetry] packages", "[tool.poetry] include"),
    "pdm.backend": ("[tool.pdm.build] includes", "[tool.pdm.build] includes"),
    "flit_core.buildapi": ("[tool.flit.module] name", "[tool.flit.module] name"),
    "scikit_build_core.build": ("[tool.scikit-build] wheel.packages", "[tool.scikit-build] wheel.packages"),
    "mesonpy": ("py.install_sources in meson.build", "py.install_sources in meson.build"),
    "uv_build": ("[tool.uv.build-backend] module-name", "[tool.uv.build-backend] wheel-exclude"),
    "own_backend": ("the packages of the build configuration", "the package data of the build configuration"),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_setting_of_the_build_backend_is_named(tmp_path: Path, backend: str) -> None:
    system = f'[build-system]\nrequires = []\nbuild-backend = "{backend}"\n' if backend else ""
    names = ("tinyterm/__init__.py", "tinyterm/term.py", "tinyterm/term.pyi", "tinyterm/colors.json")
    track(tmp_path, *names, pyproject=PYPROJECT + system)
    step = compare(tmp_path, "tinyterm/__init__.py").step()
    assert step is not None
    modules, *others = BACKENDS[backend]
    for warning, setting in zip(step.warnings, (modules, *others, *others), strict=True):
        fix = warning.partition("\nFix: correct ")[2].partition(" and build the wheel again")[0]
        assert setting in fix


def test_every_known_build_backend_is_tested() -> None:
    assert {backend.partition(".")[0] for backend in BACKENDS} - {"", "own_backend"} == set(_SETTINGS)


@pytest.mark.parametrize("pattern", ["tinyterm/term.py", "src/tinyterm/t*", "*.py"])
def test_ignored_files(tmp_path: Path, pattern: str) -> None:
    track(tmp_path, "src/tinyterm/__init__.py", "src/tinyterm/term.py")
    assert not compare(tmp_path, "tinyterm/__init__.py", ignore=(pattern,)).files


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("ModuleNotFoundError: No module named 'tinyterm.term'", "src/tinyterm/term.py"),
        ("ImportError: cannot import name 'term' from 'tinyterm' (/site/tinyterm/__init__.py)", "src/tinyterm/term.py"),
        ("No module named 'tinyterm.sub'", "src/tinyterm/sub/__init__.py"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/v/tinyterm/data/a.json'",
            "src/tinyterm/data/a.json",
        ),
        (r"[Errno 2] No such file or directory: 'C:\\v\\tinyterm\\data\\a.json'", "src/tinyterm/data/a.json"),
        ("No module named 'tinyterm.other'", ""),
        ("No module named 'term'", ""),
        ("[Errno 2] No such file or directory: '/v/xtinyterm/data/a.json'", ""),
        ("[Errno 2] No such file or directory: '/v/tinyterm/data/a.json.bak'", ""),
        ("AssertionError: /v/tinyterm/data/a.json", ""),
    ],
)
def test_explanation(message: str, expected: str) -> None:
    names = ("tinyterm/term.py", "tinyterm/sub/__init__.py", "tinyterm/data/a.json")
    found = LeftOut(files={name: f"src/{name}" for name in names}).explain(message)
    assert found == (f"{expected} {ABSENT}" if expected else "")


def test_failures_name_the_file(pytester: pytest.Pytester, run_wheels: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    root = pytester.path
    track(root, *(f"src/tinyterm/{name}" for name in ("__init__.py", "term.py", "unused.py", "colors.json")))
    pytester.makepyfile(
        **{
            "tests/test_module": "import tinyterm.term\n",
            "tests/test_others": """
                from importlib import resources
                def test_import():
                    from tinyterm import term
                def test_data():
                    resources.files("tinyterm").joinpath("colors.json").read_text()
                def test_other():
                    open("/nowhere/colors.json")
                """,
        }
    )
    build_wheel(root / "dist", "tiny-term", files={"tinyterm/__init__.py": ""})
    build_wheel(root / "dist2", "tiny-term", files={"tinyterm/__init__.py": "import tinyterm.term"})
    wheels = ("--wheel=dist", "--wheel=dist2")
    result = run_wheels(*wheels, "--wheel-select=WHL201", "-rf", "tests/test_module.py", "tests/test_others.py")
    name = "FAILED dist/tiny_term-1.0-py3-none-any.whl::cp*::"
    result.stdout.fnmatch_lines_random(
        [
            f"{name}tests/test_module.py - src/tinyterm/term.py {ABSENT}",
            f"{name}tests/test_others.py::test_import - src/tinyterm/term.py {ABSENT}",
            f"{name}tests/test_others.py::test_data - src/tinyterm/colors.json {ABSENT}",
            f"{name}tests/test_others.py::test_other - FileNotFoundError: *",
            f"FAILED dist2/*::cp*::import[[]tinyterm] - src/tinyterm/term.py {ABSENT}",
            "*WheelWarning: src/tinyterm/term.py, src/tinyterm/unused.py are in your source tree but not in the wheel",
        ]
    )
