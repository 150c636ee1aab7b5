"""A new kind of target is one package and one line of the registry: everything else works against the protocol."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import elsewhere
import pytest
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension, needs_compiler
from nodes import RunOutput, run_output
from test_rooms import MODULES, SOURCE, imported_modules, room

from pytest_wheelcheck.backends import native
from pytest_wheelcheck.model import Platform

TESTS = """
import importlib.metadata, os, pathlib, subprocess, sys, time
import pytest
import moved
from moved import native

def test_native():
    assert native.answer() == 42

def test_the_paths_are_those_of_the_target(tmp_path):
    root = os.environ["ELSEWHERE"]
    for path in (__file__, moved.__file__, sys.prefix, os.getcwd(), tmp_path):
        assert str(path).startswith(root), path

def test_subprocess():
    code = "import moved, sys; print(moved.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == moved.__file__

def test_metadata():
    assert importlib.metadata.version("moved") == "1.0"

@pytest.mark.parametrize("number", [1, 2])
def test_parameter(number):
    assert number

def test_fails():
    assert moved.VALUE == "other"

def test_crashes():
    native.crash()

def test_after_the_crash():
    pass

@pytest.mark.timeout(1)
def test_hangs():
    native.hang()

def test_leaves_a_process():
    subprocess.Popen(["sleep", "600"], start_new_session=True)
"""

_NATIVE = """
#include <stdlib.h>
#include <unistd.h>
static PyObject *crash(PyObject *self, PyObject *none) { abort(); }
static PyObject *hang(PyObject *self, PyObject *none) { for (;;) pause(); }
static PyMethodDef more[] = {{"crash", crash, METH_NOARGS, 0}, {"hang", hang, METH_NOARGS, 0}, {0}};
"""


@pytest.fixture
def run(pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOutput:
    elsewhere.require_mounts()
    binary = extension(
        tmp_path / "c", "native", head=_NATIVE, body="if (PyModule_AddFunctions(module, more)) return -1;"
    )
    build_wheel(
        pytester.path / "dist",
        "moved",
        files={
            "moved/__init__.py": "VALUE = 'this'\n",
            "moved/more.py": "from . import native\n",
            f"moved/native{SUFFIX}": binary,
        },
        tags=[LINUX_TAG],
        entry_points={"console_scripts": {"moved-run": "moved.native:answer"}},
    )
    pytester.makepyfile(test_moved=TESTS)
    root = tmp_path / "elsewhere"
    root.mkdir()
    monkeypatch.setenv("ELSEWHERE", str(root))
    return run_output(
        pytester.run(
            sys.executable,
            elsewhere.__file__,
            "-v",
            "-rfEs",
            "-p",
            "no:cacheprovider",
            "--wheel=dist",
            "--wheel-select=WHL101",
            f"--wheel-python={sys.executable}",
            "test_moved.py",
            timeout=120,
        )
    )


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are of Linux")
def test_a_backend_of_its_own(run: RunOutput, pytester: pytest.Pytester, tmp_path: Path) -> None:
    assert {name for name, outcome in run.nodes.items() if outcome == "FAILED"} == {
        "test_moved.py::test_fails",
        "test_moved.py::test_crashes",
        "test_moved.py::test_hangs",
    }, run.text
    assert set(run.only("PASSED")) == {
        "install",
        "import[moved]",
        "import[moved.native]",
        "entry[moved-run]",
        "modules[moved]",
        "compile",
        "test_moved.py::test_native",
        "test_moved.py::test_the_paths_are_those_of_the_target",
        "test_moved.py::test_subprocess",
        "test_moved.py::test_metadata",
        "test_moved.py::test_parameter[1]",
        "test_moved.py::test_parameter[2]",
        "test_moved.py::test_after_the_crash",
        "test_moved.py::test_leaves_a_process",
    }, run.text
    assert "+elsewhere::test_moved.py::test_native" in run.text
    # The crash, the stacks of the hang and the process that was left are reported, with paths of this host.
    assert "SIGABRT" in run.text
    assert "native.hang()" in run.text or "in test_hangs" in run.text
    assert "sleep 600" in run.text
    assert str(tmp_path / "elsewhere") not in run.text
    assert f"{pytester.path}/test_moved.py" in run.text


@pytest.mark.parametrize(
    ("platform", "fork", "pty", "signals"),
    [
        (Platform(system="linux", architecture="x86_64", libc="glibc"), True, True, True),
        (Platform(system="linux", architecture="aarch64", libc="musl"), True, True, True),
        # The system libraries of macOS do not survive a fork, so a package and its modules share a process.
        (Platform(system="darwin", architecture="arm64"), False, True, True),
        (Platform(system="win32", architecture="amd64"), False, False, False),
    ],
)
def test_what_native_programs_can_do(
    monkeypatch: pytest.MonkeyPatch, platform: Platform, fork: bool, pty: bool, signals: bool
) -> None:
    monkeypatch.setattr(native, "here", lambda: platform)
    found = native.NativeBackend().capabilities
    assert (found.fork, found.pty, found.signals, found.sandbox) == (fork, pty, signals, platform.is_linux)


@pytest.mark.parametrize(("build", "consoles"), [(17762, False), (17763, True), (26100, True)])
def test_pseudo_consoles_of_windows(monkeypatch: pytest.MonkeyPatch, build: int, consoles: bool) -> None:
    """Older versions of Windows have none: failing tests that open one are skipped there."""
    monkeypatch.setattr(native, "here", lambda: Platform(system="win32", architecture="amd64"))
    monkeypatch.setattr(sys, "getwindowsversion", lambda: SimpleNamespace(build=build), raising=False)
    assert native.NativeBackend().capabilities.consoles == consoles


def test_only_backends_name_a_kind_of_target() -> None:
    """Code outside of the backends is written against the protocol: no line of it names what runs a target."""
    source = Path(__file__).parent.parent / "src" / "pytest_wheelcheck"
    named = [
        f"{path.relative_to(source)}:{number}: {line.strip()}"
        for path in sorted(source.rglob("*.py"))
        if path.relative_to(source).parts[0] != "backends"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        # WinError is a name of Python's, and the other one an action of GitHub's, in a workflow that init writes.
        if re.search("(?<!setup-)qemu|wine(?!rror)", line, re.IGNORECASE)
    ]
    assert named == []


def test_only_backends_import_a_kind_of_target() -> None:
    """The lines that name a kind of target are one list, and it is with the backends."""
    kinds = {path.name for path in (SOURCE / "backends").iterdir() if (path / "__init__.py").exists()}
    assert kinds >= {"qemu", "ssh", "wine"}
    imported = [
        f"{module} imports {name}"
        for module, path in MODULES.items()
        if room(module) != "backends"
        for name in imported_modules(module)
        if room(name) == "backends" and name.split(".")[2:3] and name.split(".")[2] in kinds
    ]
    assert imported == []


#: Questions that only a backend may ask: which system a target has.
_QUESTIONS = re.compile(r"""\.system [!=]= ["']|\bunder [!=]=""")


def test_only_backends_ask_for_the_kind_of_a_target() -> None:
    source = Path(__file__).parent.parent / "src" / "pytest_wheelcheck"
    asked = [
        f"{path.relative_to(source)}:{number}: {line.strip()}"
        for room in ("targets", "reporting", "plugin", "cli")
        for path in sorted((source / room).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _QUESTIONS.search(line)
    ]
    assert asked == []
