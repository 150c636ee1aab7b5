"""The imports that have a node: every top-level and every extension module, each in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import free_threaded
import pytest
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension, needs_compiler
from nodes import Run, RunDist, RunOutput, run_output

WINDOWS = sys.platform == "win32"


def section(ran: RunOutput, name: str) -> str:
    """Cut the failure of one import out of the output."""
    parts = re.split(r"^_+ \S+::(\S+) _+$", ran.text.partition("= FAILURES =")[2], flags=re.MULTILINE)
    return parts[parts.index(name) + 1].partition("= wheels =")[0]


def test_every_top_level_and_what_fails(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={
            "good/__init__.py": "import sys\nSEEN = 1\nassert 'single' not in sys.modules\n",
            "good/inner.py": "raise SystemExit('modules without a node of their own are imported in another process')\n",
            "single.py": "import sys\nassert 'good' not in sys.modules\n",
            "space/part/__init__.py": "",
            "raises/__init__.py": "from . import deep\n",
            "raises/deep.py": "def fail(value):\n    text = 'seven'\n    raise ValueError(f'{text} of {value}')\n\n"
            "try:\n    fail(1)\nexcept ValueError as error:\n    raise RuntimeError('on top') from error\n",
            "syntax.py": "def broken(:\n",
            "recurs.py": "def call(n):\n    return call(n + 1)\ncall(0)\n",
            "noted.py": "error = ValueError('low')\nerror.__notes__ = ['look it up']\nraise error\n",
            "leaves.py": "import os\nprint('last words', flush=True)\nos._exit(0)\n",
            "exits.py": "import sys\nsys.exit(0)\n",
            "hangs.py": "import time\ndef wait_for_ever():\n    time.sleep(600)\nwait_for_ever()\n",
            "abandons.py": "import atexit, os\natexit.register(os.abort)\n",
            "forks.py": "import os\nif hasattr(os, 'fork'):\n    os.wait() if os.fork() else None\n",
            "stays.py": "import threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()\n",
            "undeclared.py": "import not_declared.part\n",
            "optional.py": "import fastlib\n",
            "tries.py": "try:\n    import first_try\nexcept ImportError:\n    import second_try\n",
            "lacks.py": "import good.forgotten\n",
            "late.py": "import asynchat_or_not\n",
            "json/__init__.py": "",
            "time.py": "",
            "left_out.py": "raise SystemExit('this must not be imported')\n",
            "left_too/__init__.py": "raise SystemExit('this must not be imported')\n",
        },
        extras=["speed"],
        requires=["fastlib; extra == 'speed'"],
    )
    pytester.makeini("[pytest]\nwheel_test_timeout = 2\nwheel_import_ignore =\n    left_*\n")
    ran = run_dist("--junit-xml=j.xml")
    imports = {name[7:-1]: outcome for name, outcome in ran.nodes.items() if name.startswith("import[")}
    assert sorted(name for name, outcome in imports.items() if outcome == "PASSED") == [
        "forks",
        "good",
        "single",
        "space.part",
    ]
    assert {name for name, outcome in imports.items() if outcome == "FAILED"} == {
        *("abandons", "exits", "hangs", "json", "lacks", "late", "leaves", "optional", "raises", "syntax", "time"),
        *("recurs", "noted", "stays", "tries", "undeclared"),
    }
    assert "must not be imported" not in ran.text
    assert ran.code == 1

    # The remote traceback stands there as pytest shows one: the user's file and line, the source, both exceptions.
    raises = section(ran, "import[raises]")
    for line in (
        "    def fail(value):",
        ">       raise ValueError(f'{text} of {value}')",
        "E   ValueError: seven of 1",
        ">       raise RuntimeError('on top') from error",
        "E   RuntimeError: on top",
        "The above exception was the direct cause of the following exception:",
    ):
        assert line in raises, raises
    assert re.search(r"site-packages[/\\]raises[/\\]deep\.py:3: ValueError$", raises, re.MULTILINE)
    assert re.search(r"site-packages[/\\]raises[/\\]__init__\.py:1: in <module>$", raises, re.MULTILINE)
    assert raises.index("seven of 1") < raises.index("on top')")

    syntax = section(ran, "import[syntax]")
    assert "E   SyntaxError: invalid syntax" in syntax
    assert re.search(r"^FAILED .*import\[syntax\] - SyntaxError: invalid syntax", ran.text, re.MULTILINE)
    assert re.search(r'^E     File ".*syntax\.py", line 1$', syntax, re.MULTILINE)
    assert re.search(r"^E +\^$", syntax, re.MULTILINE)
    assert section(ran, "import[recurs]").count("return call(n + 1)") < 130
    assert "calls omitted]" in section(ran, "import[recurs]")
    assert "look it up" in section(ran, "import[noted]")
    died = "the interpreter died: exit status 0" if WINDOWS else "exit status 0 in the middle of the import"
    assert died in section(ran, "import[leaves]")
    assert "last words" in section(ran, "import[leaves]")
    assert "SystemExit: 0" in section(ran, "import[exits]")
    hangs = section(ran, "import[hangs]")
    assert "the import exceeded its timeout" in hangs
    assert "wait_for_ever" in hangs
    assert "the interpreter exceeded the timeout while it exited" in section(ran, "import[stays]")
    told = "" if WINDOWS else "killed by SIGABRT"
    assert f"but the interpreter failed afterwards, while it exited: {told}" in section(ran, "import[abandons]")
    assert "does not declare a dependency that brings not_declared" in section(ran, "import[undeclared]")
    optional = section(ran, "import[optional]")
    assert "fastlib is declared for the extra 'speed' only" in optional
    assert "--wheel-extra speed" in optional
    assert "that brings second_try" in section(ran, "import[tries]")
    assert "the wheel does not contain good.forgotten: the build left it out" in section(ran, "import[lacks]")
    for name in ("json", "time"):
        assert f"the interpreter has a module {name} of its own" in section(ran, f"import[{name}]")
    # How long an import took is told.
    report = (pytester.path / "j.xml").read_text("utf-8")
    assert re.search(r'name="import\[good\]" time="[\d.]+"><properties><property name="import_seconds"', report)


CRASHES = {
    "segv": ("*(volatile int *) 8 = 1;", "killed by SIGSEGV"),
    "aborts": ("abort();", "killed by SIGABRT"),
    "illegal": ("raise(SIGILL);", "killed by SIGILL"),
    "leaves": ("_exit(0);", "exit status 0 in the middle of the import"),
    "spins": ("for (;;) {}", "the import exceeded its timeout"),
}


@needs_compiler
def test_extension_modules(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build = pytester.path / "build"
    head = "#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
    files: dict[str, str | bytes] = {
        f"pkg/{name}{SUFFIX}": extension(build, name, head=head, body=body) for name, (body, _) in CRASHES.items()
    }
    files |= {
        "pkg/__init__.py": "",
        f"pkg/deep/er/good{SUFFIX}": extension(build, "good"),
        f"alone{SUFFIX}": extension(build, "alone"),
        f"pkg/unlinked{SUFFIX}": extension(build, "unlinked", head="int nowhere(void);", body="nowhere();"),
        f"pkg/hidden{SUFFIX}": extension(build, "hidden", body="abort();", head="#include <stdlib.h>"),
        "pkg/leftover.py": "",
    }
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[LINUX_TAG])
    pytester.makeini("[pytest]\nwheel_test_timeout = 2\nwheel_import_ignore = pkg.hidden\n")
    ran = run_dist()
    imports = {name[7:-1]: outcome for name, outcome in ran.nodes.items() if name.startswith("import[")}
    assert imports == {
        "alone": "PASSED",
        "pkg": "PASSED",
        "pkg.deep.er.good": "PASSED",
        "pkg.unlinked": "FAILED",
        **{f"pkg.{name}": "FAILED" for name in CRASHES},
    }
    for name, (_, words) in CRASHES.items():
        assert words in section(ran, f"import[pkg.{name}]")
    assert "compiled for a newer CPU" in section(ran, "import[pkg.illegal]")
    assert "undefined symbol: nowhere" in section(ran, "import[pkg.unlinked]")
    # The stacks come from a thread that holds the GIL in native code.
    assert "most recent call first" in section(ran, "import[pkg.spins]")


@needs_compiler
def test_a_module_that_was_built_for_another_version(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    module = extension(pytester.path / "build", "_native")
    own = SUFFIX.split("-")[1]
    other = SUFFIX.replace(f"-{own}-", "-399-")
    files: dict[str, str | bytes] = {"pkg/__init__.py": "", f"pkg/_native{other}": module, "pkg/py.typed": ""}
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[LINUX_TAG])
    ran = run_dist()
    failure = section(ran, "import[pkg._native]")
    cause = f"the wheel has pkg._native only as pkg/_native{other}, which is for CPython 3.99 on "
    assert cause in failure
    assert "left it out" not in failure
    # It refers to the static check only if that has run.
    assert "(see WHL603)" not in ran.text
    assert "WHL603" not in failure
    ran = run_dist("--wheel-select=WHL603")
    assert re.search(rf"{re.escape(cause)}.* \(see WHL603\)\n", section(ran, "import[pkg._native]"))
    assert "::WHL603-suffix FAILED" in ran.text
    ran = run_dist("--wheel-select=WHL6", "--wheel-ignore=WHL603")
    assert "WHL603" not in ran.text
    # A module that the wheel does not have was left out.
    for path in (pytester.path / "dist").glob("*.whl"):
        path.unlink()
    build_wheel(
        pytester.path / "dist", "pkg", files={"pkg/__init__.py": "from pkg._native import f\n"}, tags=[LINUX_TAG]
    )
    assert "the wheel does not contain pkg._native: the build left it out" in section(run_dist(), "import[pkg]")


def test_a_hundred_modules_are_not_dear(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    # Each in a process of its own, all forked from one interpreter: none is started and none loads a library for it.
    notes = pytester.path / "notes"
    code = f"import os\nwith open({str(notes)!r}, 'a') as file: print(os.getppid(), os.getpid(), file=file)\n"
    build_wheel(pytester.path / "dist", "pkg", files={f"m{number:02}.py": code for number in range(100)})
    pytester.makepyfile(test_a="def test_a(): pass\n")
    ran = run_dist()
    assert len([name for name in ran.only("PASSED") if name.startswith("import[")]) == 100
    if sys.platform != "linux":
        return  # Each has an interpreter that is started for it.
    parents, children = zip(*(line.split() for line in notes.read_text("ascii").splitlines()), strict=True)
    assert len(children) == len(set(children)) == 100
    assert len(set(parents)) == 1


def _system_library(name: str) -> Path | None:
    for folder in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        for path in sorted(Path(folder).glob(f"{name}.so.*")):
            if path.is_file():
                return path
    return None


@needs_compiler
def test_libraries_from_outside(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    library = _system_library("libcrypto")
    if library is None:
        pytest.skip("needs a libcrypto of the system")
    build = pytester.path / "build"
    head = f'#include <dlfcn.h>\n#include <stdlib.h>\nstatic const char *name = "{library}";'
    opened = "if (!dlopen(name, RTLD_NOW)) { PyErr_SetString(PyExc_ImportError, dlerror()); return -1; }"
    modules = {
        "linked": extension(build, "linked", flags=("-Wl,--no-as-needed", str(library))),
        "opened": extension(build, "opened", head=head, body=opened),
        "fine": extension(build, "fine", flags=("-Wl,--no-as-needed", "-lm", "-lpthread")),
    }
    # The loader reads the dynamic segment; an ELF file need not have section headers.
    bare = bytearray(extension(build, "bare", flags=("-Wl,--no-as-needed", str(library))))
    bare[0x28:0x30], bare[0x3C:0x40] = bytes(8), bytes(4)
    modules["bare"] = bytes(bare)
    files: dict[str, str | bytes] = {f"pkg/{name}{SUFFIX}": data for name, data in modules.items()}
    files |= {
        "pkg/__init__.py": "",
        "secure.py": "import ssl, hashlib, sqlite3, ctypes\n",
        "both.py": "import ssl\nfrom pkg import linked\n",
    }
    manylinux = LINUX_TAG.replace("linux_", "manylinux_2_28_")
    build_wheel(pytester.path / "dist", "many", files=files, tags=[manylinux])
    ran = run_dist()
    assert ran.only("FAILED") == ["import[both]", "import[pkg.bare]", "import[pkg.linked]"]
    assert ran.nodes["import[secure]"] == ran.nodes["import[pkg.fine]"] == ran.nodes["import[pkg.opened]"] == "PASSED"
    linked = section(ran, "import[pkg.linked]")
    assert f"does not allow the library {library.name}" in linked
    assert "manylinux_2_28_x86_64" in linked
    assert f"needed by linked{SUFFIX}" in linked
    assert f"needed by bare{SUFFIX}" in section(ran, "import[pkg.bare]")
    # A library that is opened by name may be optional.
    assert f"does not allow the library {library.name}\n  Cause: native code opened it by name" in ran.text
    # A tag that promises nothing allows everything.
    (path,) = (pytester.path / "dist").glob("*.whl")
    path.unlink()
    build_wheel(pytester.path / "dist", "many", files=files, tags=[LINUX_TAG])
    assert run_dist().only("FAILED") == []


@needs_compiler
def test_a_library_that_the_wheel_bundles_too(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """The interpreter has loaded a library of the same name first, as it may with auditwheel's libbz2."""
    build = pytester.path / "build"
    build.mkdir()
    library = build / "libsame-0123abcd.so.1"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "/dev/null", f"-Wl,-soname,{library.name}", "-o", str(library)]
    subprocess.run(command, check=True, timeout=60)
    head = f'#include <dlfcn.h>\nstatic const char *name = "{library}";'
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "",
        f"pkg/first{SUFFIX}": extension(build, "first", head=head, body="dlopen(name, RTLD_NOW);"),
        f"pkg/linked{SUFFIX}": extension(
            build, "linked", flags=("-Wl,--no-as-needed", str(library), "-Wl,-rpath,$ORIGIN/../pkg.libs")
        ),
        "both.py": "from pkg import first, linked\n",
    }
    tags = [LINUX_TAG.replace("linux_", "manylinux_2_28_")]
    build_wheel(
        pytester.path / "dist", "pkg", files={**files, f"pkg.libs/{library.name}": library.read_bytes()}, tags=tags
    )
    ran = run_dist()
    assert set(ran.nodes.values()) == {"PASSED"}
    assert "warnings summary" not in ran.text
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=tags)
    ran = run_dist()
    assert f"needed by linked{SUFFIX}: the tag" in section(ran, "import[both]")
    assert ran.nodes["import[pkg.linked]"] == "FAILED"


def test_what_the_import_leaves_running_is_ended(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    mark = f"600.{os.getpid()}"
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={
            "pkg.py": "import subprocess, sys\n"
            f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep({mark})'])\n"
        },
    )
    start = time.monotonic()
    ran = run_dist()
    assert ran.nodes["import[pkg]"] == "PASSED"
    assert time.monotonic() - start < 60
    if WINDOWS:
        assert "importing it left processes running, which were ended" in ran.text
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
    assert not [words for words in running if mark.encode() in words]


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@needs_compiler
@pytest.mark.network
def test_the_gil(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    python = free_threaded.interpreter()
    files: dict[str, str | bytes] = {"pkg/__init__.py": ""}
    for name, keeps_gil_off in (("stays", True), ("switches", False)):
        module = free_threaded.extension(pytester.path / "build", name, keeps_gil_off=keeps_gil_off)
        files[f"pkg/{name}{free_threaded.SUFFIX}"] = module
    files["pkg/by_the_way.py"] = ""
    files["through.py"] = "from pkg import switches\n"
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[free_threaded.TAG])
    ran = run_dist(f"--wheel-python={python}")
    assert ran.only("FAILED") == ["import[pkg.switches]", "import[through]"]
    assert ran.nodes["import[pkg.stays]"] == ran.nodes["import[pkg]"] == "PASSED"
    words = section(ran, "import[pkg.switches]")
    assert "enabled the GIL in a free-threaded interpreter" in words
    assert "gil_used = false" in words
    assert "pkg.switches" in section(ran, "import[through]")


def test_the_witness_tells_its_pyo3(witness: Path, pytester: pytest.Pytester, run_wheels: Run) -> None:
    ran = run_output(run_wheels("-v", "--wheel-select=WHL101", "--wheel", witness, "--junit-xml=j.xml"))
    assert ran.only("FAILED") == []
    imports = [name for name in ran.nodes if name.startswith("import[")]
    assert imports[0] == "import[wheelcheck_witness]"
    assert len(imports) == 2
    report = (pytester.path / "j.xml").read_text("utf-8")
    case = report.partition(f'name="{imports[1]}"')[2].partition("</testcase>")[0]
    version = re.search(r'<property name="pyo3" value="([\d.]+)"', case)
    lock = (Path(__file__).parent.parent / "native/Cargo.lock").read_text("utf-8")
    wanted = re.search(r'name = "pyo3"\nversion = "([^"]+)"', lock)
    assert version is not None
    assert wanted is not None
    assert version[1] == wanted[1]


@needs_compiler
def test_modules_that_import_each_other(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """Users import another module of the circle first, which works."""

    def importing(name: str) -> str:
        """C of a module that needs a value of another one before it has its own."""
        code = f"from pkg import {name}; {name}.VALUE"
        return (
            "PyObject *scope = PyModule_GetDict(module);"
            'PyDict_SetItemString(scope, "__builtins__", PyEval_GetBuiltins());'
            f'if (!PyRun_String("{code}", Py_file_input, scope, scope)) return -1;'
            'if (PyModule_AddIntConstant(module, "VALUE", 1)) return -1;'
        )

    build = pytester.path / "build"
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "",
        # The circle is resolved if this one is first: it has its value before it imports the other one.
        "pkg/first.py": "VALUE = 1\nfrom pkg import second\nOTHER = second.VALUE\n",
        f"pkg/second{SUFFIX}": extension(build, "second", body=importing("first")),
        # No order works.
        f"pkg/never{SUFFIX}": extension(build, "never", body=importing("always")),
        "pkg/always.py": "from pkg.never import VALUE\n",
    }
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[LINUX_TAG])
    ran = run_dist()
    assert ran.only("FAILED") == ["import[pkg.never]"], ran.text
    warned = ran.text.partition("= warnings summary =")[2]
    assert "pkg.second cannot be imported first: AttributeError: partially initialized module 'pkg.second'" in warned
    assert "a circle of imports with pkg.first; after `import pkg.first` it can be imported" in warned
    assert 'import_ignore = ["pkg.second"] in ' in warned


@needs_compiler
def test_native_code_that_needs_what_its_own_package_loads(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """It passes after the module that imports it; if that needs a part of Python that is missing here, both are skipped."""

    def needing(*names: str) -> str:
        """C of a module that refuses to be imported unless others are there."""
        return "".join(
            f'if (!PyDict_GetItemString(PyImport_GetModuleDict(), "{name}"))'
            f' {{ PyErr_SetString(PyExc_ImportError, "needs {name}"); return -1; }}'
            for name in names
        )

    build = pytester.path / "build"
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "",
        "pkg/loader.py": "import wave\nfrom . import (\n    other)\nfrom . import _late\n",
        "pkg/other.py": "",
        "pkg/windows.py": "import winreg\nfrom pkg import _registry\n",
        f"pkg/_late{SUFFIX}": extension(build, "_late", body=needing("wave")),
        f"pkg/_registry{SUFFIX}": extension(build, "_registry", body=needing("winreg")),
        # Nothing imports it.
        f"pkg/_never{SUFFIX}": extension(build, "_never", body=needing("wave")),
    }
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[LINUX_TAG])
    ran = run_dist("-rs")
    assert ran.only("FAILED") == ["import[pkg._never]"], ran.text
    assert ran.nodes["import[pkg._late]"] == "PASSED"
    assert "Cause: it needs what pkg.loader loads; after `import pkg.loader` it can be imported" in ran.text
    assert ran.nodes["import[pkg._registry]"] == "SKIPPED", ran.text
    assert "winreg" in ran.text


def test_names_that_users_import_must_work_first(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    files = {"pkg.py": "import other\nVALUE = 1\n", "other.py": "import pkg\npkg.VALUE\n"}
    build_wheel(pytester.path / "dist", "pkg", files=files)
    ran = run_dist()
    assert (ran.nodes["import[pkg]"], ran.nodes["import[other]"]) == ("FAILED", "PASSED")


def test_a_package_with_aliases_of_other_modules(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """Its import hook gives modules of the standard library a name of the package, as Cython's does."""
    hook = (
        "import sys, importlib, importlib.abc, importlib.machinery\n"
        "class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pkg.aliases.colorsys':\n"
        "            return importlib.machinery.ModuleSpec(name, self)\n"
        "    def create_module(self, spec):\n"
        "        return importlib.import_module(spec.name.rpartition('.')[2])\n"
        "    def exec_module(self, module):\n"
        "        pass\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    copies = (
        "import importlib.util, sys, colorsys\n"
        "spec = importlib.util.spec_from_file_location('copies.part', colorsys.__file__)\n"
        "sys.modules['copies.part'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules['copies.part'])\n"
    )
    files = {
        "pkg/__init__.py": f"{hook}from .aliases import colorsys\n",
        "pkg/aliases/__init__.py": "",
        # It loads another copy under its own name, which is not that of the standard library.
        "copies/__init__.py": copies,
        "copies/part.py": "",
    }
    build_wheel(pytester.path / "dist", "pkg", files=files)
    pytester.makepyfile(
        test_a="import sys\nimport pkg\n\ndef test_a():\n    assert 'pkg.aliases.colorsys' in sys.modules\n"
    )
    ran = run_dist("test_a.py")
    assert (ran.nodes["import[pkg]"], ran.nodes["import[copies]"]) == ("PASSED", "FAILED"), ran.text
    assert "copies.part, a module of the wheel, was imported from" in ran.text
    assert ran.nodes["test_a.py::test_a"] == "PASSED", ran.text
