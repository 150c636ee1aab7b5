"""Imports that fail because a native library is missing: whose fault it is, and what to do. Never to leave them out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension, needs_compiler
from nodes import RunDist
from test_imports import section

pytestmark = [needs_compiler, pytest.mark.skipif(sys.platform != "linux", reason="the messages are those of Linux")]

LIBRARY = "libfoo.so.1"


def library(folder: Path) -> Path:
    """Compile a library that no directory of the loader has."""
    path = folder / LIBRARY
    folder.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "/dev/null", f"-Wl,-soname,{LIBRARY}", "-o", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


def linked(folder: Path, *flags: str) -> bytes:
    """Compile an extension module that needs the library."""
    return extension(folder, "_native", flags=("-Wl,--no-as-needed", str(library(folder)), *flags))


@pytest.mark.parametrize(("tag", "code"), [("linux_x86_64", ""), ("manylinux_2_17_x86_64", " (see WHL301)")])
def test_a_library_that_was_not_bundled(tag: str, code: str, pytester: pytest.Pytester, run_dist: RunDist) -> None:
    native = linked(pytester.path / "build")
    files: dict[str, str | bytes] = {
        "tally/__init__.py": '"""Tally."""\n\nfrom ._native import answer\n',
        f"tally/_native{SUFFIX}": native,
        "falls/__init__.py": "try:\n    from ._native import answer\nexcept ImportError:\n    answer = int\n",
        f"falls/_native{SUFFIX}": native,
    }
    wheel = build_wheel(pytester.path / "dist", "pkg", files=files, tags=[LINUX_TAG.replace("linux_x86_64", tag)])
    ran = run_dist("--wheel-select=WHL301")
    assert ran.only("FAILED") == ["import[falls._native]", "import[tally]"]
    for package, name in (("tally", "import[tally]"), ("falls", "import[falls._native]")):
        text = section(ran, name)
        missing = f"Cause: the wheel does not contain {LIBRARY}, which {package}/_native{SUFFIX} needs, and this system does not"
        assert missing in text, text
        assert (
            f"Fix: copy it into the wheel where it is built, before it is tested: auditwheel repair dist/{wheel.name}{code}\n"
            in text
        )
        assert "import_ignore" not in text
    if code:
        policy = ran.text.partition("_ WHL301-policy")[2].partition("\n_")[0]
        assert 'On systems without the library, the import fails with "cannot open shared object file".\n' in policy
        assert "GLIBC_" not in policy


def test_a_library_of_the_wheel_that_the_module_does_not_search(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build = pytester.path / "build"
    files: dict[str, str | bytes] = {
        "tally/__init__.py": "from ._native import answer\n",
        f"tally/_native{SUFFIX}": linked(build),
        f"tally.libs/{LIBRARY}": library(build).read_bytes(),
    }
    build_wheel(pytester.path / "dist", "tally", files=files, tags=[LINUX_TAG])
    text = section(run_dist(), "import[tally]")
    assert (
        f"Cause: the wheel contains tally.libs/{LIBRARY}, but tally/_native{SUFFIX}, which needs {LIBRARY}, does not"
        in text
    )
    assert "patchelf --set-rpath '$ORIGIN/../tally.libs'" in text
    # With that search path it works.
    files[f"tally/_native{SUFFIX}"] = linked(build, "-Wl,-rpath,$ORIGIN/../tally.libs")
    build_wheel(pytester.path / "dist", "tally", files=files, tags=[LINUX_TAG])
    assert run_dist().nodes["import[tally]"] == "PASSED"


def test_a_library_that_a_dependency_lacks(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """Nothing is known about the wheel."""
    files: dict[str, str | bytes] = {
        "dep/__init__.py": "from ._native import answer\n",
        f"dep/_native{SUFFIX}": linked(pytester.path / "build"),
    }
    build_wheel(pytester.path / "links", "dep", files=files, tags=[LINUX_TAG])
    build_wheel(pytester.path / "dist", "tally", files={"tally.py": "import dep\n"}, requires=["dep"])
    ran = run_dist("--wheel-find-links=links", "--wheel-offline")
    assert ran.nodes["import[tally]"] == "ERROR", ran.text
    assert "could not be checked: the dependency dep 1.0 cannot be loaded\n" in ran.text
    assert (
        f"Cause: its dep/_native{SUFFIX} needs {LIBRARY}, which it does not bring, and which this system does not"
        in ran.text
    )
    assert f"Fix: install {LIBRARY} on this system, or report it to the project dep\n" in ran.text


def test_a_library_that_python_code_opens(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    code = f"import ctypes\n\nFOO = ctypes.CDLL({LIBRARY!r})\n"
    build_wheel(pytester.path / "dist", "tally", files={"tally.py": code})
    text = section(run_dist(), "import[tally]")
    assert f"Cause: tally.py, line 3, opens {LIBRARY}, which is not found: the loader does not have it on this" in text
    assert "Fix: put it into the wheel as a file of the package, and open it by its path there\n" in text
