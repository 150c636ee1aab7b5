"""The modules of a wheel that have no node of their own: all are imported, and every file is compiled."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension, needs_compiler
from nodes import Run, RunDist, RunOutput, run_output

WINDOWS = sys.platform == "win32"


def failure(ran: RunOutput, name: str) -> str:
    """Cut the failure of one node out of the output."""
    parts = re.split(r"^_+ \S+::(\S+) _+$", ran.text.partition("= FAILURES =")[2], flags=re.MULTILINE)
    return parts[parts.index(name) + 1].partition("= warnings summary =")[0].partition("= wheels =")[0]


#: A module that this system does not have, and the system that has it.
FOREIGN = ("winreg", "Windows") if sys.platform == "darwin" else ("_scproxy", "macOS")
WATCHER = ("_demo_inotify", "Linux") if sys.platform == "darwin" else ("_demo_fsevents", "macOS")
NOWHERE = 'win-only-lib; sys_platform == "nowhere"'

MIXED = {
    "pkg/__init__.py": "from . import used\n",
    "pkg/used.py": "",
    "pkg/width.py": "import os\n\nimport wcwidth_of_nobody\n",
    "pkg/width_too.py": "from wcwidth_of_nobody import width\n",
    "pkg/lacks.py": "import pkg.forgotten\n",
    "pkg/legacy.py": "raise RuntimeError('gone')\n",
    "pkg/leaves.py": "import os\nos._exit(3)\n",
    "pkg/exits.py": "import sys\nsys.exit(2)\n",
    "pkg/zlast.py": "import os\nprint('all others were imported', file=open(os.environ['MARK'], 'w'))\n",
    "pkg/d.py": "import fastlib\n",
    "pkg/old.py": "import UserDict\n",
    "pkg/watch.py": f"import {WATCHER[0]}\n",
    "pkg/for_gdb.py": "import gdb\n",
    "pkg/raises_for_extra.py": "try:\n    import unknown_to_metadata\nexcept ImportError:\n"
    "    raise ImportError('pip install pkg[d]') from None\n",
    "pkg/attempts.py": "try:\n    import fastlib\nexcept ImportError:\n    import old_name_of_fastlib\n",
    "pkg/raises_itself.py": "try:\n    import of_the_user\nexcept ImportError as error:\n"
    "    raise RuntimeError('install of_the_user') from error\n",
    "pkg/console.py": "import win_only_lib\n",
    "pkg/nowhere_os.py": f"import {FOREIGN[0]}\n",
    **({} if WINDOWS else {"pkg/uses_windll.py": "import ctypes\nctypes.windll.kernel32\n"}),
    "pkg/_macos.py": "from pkg import _macos_native\n" if sys.platform != "darwin" else "from pkg import used\n",
    "pkg/contrib/__init__.py": "",
    "pkg/contrib/ssl_of_others.py": "import OpenSSL_of_others\n",
    "pkg/keras_like.py": "import keras_like\n",
    "pkg/keras_like_formatter.py": "import keras_like\n",
    "pkg/kafka.py": "import confluent_kafka_of_others\n",
    "pkg/backends/__init__.py": "import sys\nsys.path[:] = sys.path\n",
    "pkg/backends/driver_like.py": "import driver_like\n",
    "pkg/backends/database.py": "import driver_of_a_database\n",
    "pkg/checker.py": "import pytest\n\ndef main():\n    pytest.main()\n",
    "pkg/plugin.py": "import pytest\n\n@pytest.fixture\ndef thing():\n    pass\n",
    "pkg/tests/__init__.py": "raise AssertionError('tests are left out')\n",
    "pkg/__main__.py": "raise AssertionError('it is left out')\n",
    "pkg/ignored.py": "raise AssertionError('it is ignored')\n",
    "pkg/templates/late.py": "import template_library\n",
}


def test_every_module_is_imported(
    pytester: pytest.Pytester, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = pytester.path / "mark"
    monkeypatch.setenv("MARK", str(mark))
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files=MIXED,
        extras=["d"],
        requires=["fastlib; extra == 'd'", NOWHERE],
    )
    pytester.makeini("[pytest]\nwheel_import_ignore = pkg.ignored\n")
    ran = run_dist("-rA")
    assert ran.only("FAILED") == ["modules[pkg]"]
    assert ran.nodes["import[pkg]"] == ran.nodes["compile"] == "PASSED"
    # A module that ended the process did not hide those after it.
    assert mark.exists()
    found = failure(ran, "modules[pkg]")
    # One missing distribution is one problem, with file and line.
    assert found.count("No module named 'wcwidth_of_nobody'") == 1
    assert "pkg.width, pkg.width_too cannot be imported" in found
    assert "(pkg/width.py, line 3)" in found
    assert "to [project] dependencies" in found
    assert "declare an extra ([project.optional-dependencies])" in found
    assert "set in tox.ini:\nwheel_import_ignore =\n    pkg.ignored\n    pkg.width\n    pkg.width_too\n" in found
    assert "the wheel does not contain pkg.forgotten" in found
    assert "pkg.checker cannot be imported: ModuleNotFoundError: No module named 'pytest'" in found
    assert {line for line in found.splitlines() if line.startswith("skipped: ")} == {
        "skipped: pkg.attempts, pkg.d: needs fastlib, which the extra `d` installs",
        "skipped: pkg.for_gdb: needs gdb, which only the Python inside GDB has",
        "skipped: pkg.raises_for_extra: needs what the extra `d` installs",
        "skipped: pkg.console: needs win_only_lib, which is not required on this target: " + NOWHERE,
        f"skipped: pkg.nowhere_os: needs {FOREIGN[0]}, a module for {FOREIGN[1]}",
        f"skipped: pkg.watch: needs {WATCHER[0]}, a module for {WATCHER[1]}",
        *(() if sys.platform == "darwin" else ("skipped: pkg._macos: is for macOS, by its name",)),
        *(() if WINDOWS else ("skipped: pkg.uses_windll: is for Windows: it uses names that ctypes has only there",)),
        "skipped: pkg.plugin: needs pytest; projects that use pkg.plugin in their tests have it",
    }
    (warning,) = re.findall(r"WheelWarning: these modules cannot be imported .*:\n(.*?)  Fix:", ran.text, re.DOTALL)
    warned = set(re.findall(r"^ {6}(pkg\.[\w.]+)", warning, re.MULTILINE))
    expected = {"legacy", "leaves", "exits", "raises_itself", "contrib.ssl_of_others", "keras_like", "templates.late"}
    expected |= {"old", "kafka", "backends.driver_like", "backends.database"}
    assert warned == {f"pkg.{name}" for name in expected}
    assert "pkg.keras_like, pkg.keras_like_formatter: ModuleNotFoundError" in warning
    assert "RuntimeError: gone (pkg/legacy.py, line 1)" in ran.text
    assert "AssertionError" not in ran.text
    assert "it is ignored" not in ran.text


def test_without_a_fault_and_strict(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    files = {"pkg/__init__.py": "", "pkg/legacy.py": "raise RuntimeError('gone')\n", "pkg/good.py": ""}
    build_wheel(pytester.path / "dist", "pkg", files=files)
    ran = run_dist()
    assert (ran.code, ran.nodes["modules[pkg]"]) == (0, "PASSED")
    assert "pkg.legacy: RuntimeError: gone (pkg/legacy.py, line 1)" in ran.text
    assert 'set import_ignore = ["pkg.legacy"] in [tool.wheelcheck]' in ran.text
    ran = run_dist("-o", "wheel_import_strict=true")
    assert ran.only("FAILED") == ["modules[pkg]"]
    assert "pkg.legacy cannot be imported: RuntimeError: gone" in failure(ran, "modules[pkg]")


def test_a_module_that_does_not_end(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    files = {"pkg/__init__.py": "", "pkg/a.py": "import time\ntime.sleep(600)\n", "pkg/b.py": "import not_declared\n"}
    build_wheel(pytester.path / "dist", "pkg", files=files)
    pytester.makeini("[pytest]\nwheel_test_timeout = 3\n")
    ran = run_dist()
    assert ran.only("FAILED") == ["modules[pkg]"]
    assert "pkg.b cannot be imported: ModuleNotFoundError" in failure(ran, "modules[pkg]")
    assert "pkg.a: it did not end within 3 s" in ran.text
    assert 'a.py", line 2 in <module>' in ran.text


def test_namespace_packages_and_syntax(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(
        pytester.path / "dist",
        "space-parts",
        files={
            "space/good/__init__.py": "",
            "space/deep/er/__init__.py": "import not_declared\n",
            "space/deep/er/below.py": "",
            "space/tests/__init__.py": "raise AssertionError('tests are left out')\n",
            "space/module.py": "import not_declared_too\n",
            "space/good/broken.py": "x = 1\n\ndef f(:\n",
            "space/good/uses_broken.py": "from . import broken\n",
            "space/good/tests/data.py": "this is no Python\n",
            "space/good/templates-of/a.py": "{{ neither is this }}}\n",
        },
    )
    ran = run_dist()
    assert ran.nodes == {
        "install": "PASSED",
        "import[space.deep.er]": "FAILED",
        "import[space.good]": "PASSED",
        "modules[space.deep.er]": "SKIPPED",
        "modules[space.good]": "SKIPPED",
        "modules[space]": "FAILED",
        "compile": "FAILED",
    }
    assert "not_declared_too" in failure(ran, "modules[space]")
    compiled = failure(ran, "compile")
    assert "space/good/broken.py, line 3: SyntaxError: " in compiled
    assert "data.py" not in compiled
    # Test data and templates need not be Python.
    assert "WheelWarning: space/good/tests/data.py, line 1: SyntaxError" in ran.text


def test_extras(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """A top-level module that is not the main one, an entry point, and a plain import that needs an extra."""
    links = pytester.path / "links"
    build_wheel(links, "fastlib", files={"fastlib.py": "def main(): pass\n"})
    build_wheel(links, "othername", files={"its_module.py": ""})
    files = {
        "pkg/__init__.py": "",
        "pkgd/__init__.py": "import fastlib\n",
        "pkgd/more.py": "",
        "pkg/fast.py": "import fastlib\n",
        "pkg/backends/__init__.py": "",
        "pkg/backends/other.py": "import its_module\n",
        "pkg/backends/old.py": "import its_old_module\n",
        "pkg/speed.py": "import nobody_brings_it\n",
    }
    requires = [
        "fastlib; extra == 'speed'",
        "othername; extra == 'other'",
        "oldname; python_version < '3.5' and extra == 'old'",
    ]
    wheel = build_wheel(
        pytester.path / "dist",
        "pkg",
        files=files,
        requires=requires,
        extras=["speed", "other", "old"],
        entry_points={"console_scripts": {"pkgd": "pkgd:fastlib.main [speed]"}},
    )
    ran = run_dist("--wheel-find-links", links, "-rA")
    assert ran.only("FAILED") == []
    assert ran.only("SKIPPED") == ["entry[pkgd]", "import[pkgd]", "modules[pkgd]"]
    assert "needs fastlib, which the extra `speed` installs" in ran.text
    assert "not imported, because import[pkgd] did not pass" in ran.text
    assert "skipped: pkg.backends.other: needs its_module, and is for the extra `other`, by its name" in ran.text
    assert "skipped: pkg.backends.old: needs its_old_module, and is for the extra `old`, by its name" in ran.text
    # An extra that was installed excuses nothing.
    ran = run_dist("--wheel-find-links", links, "--wheel-extra", "speed,other")
    assert ran.only("FAILED") == ["modules[pkg]"]
    assert ran.only("SKIPPED") == []
    assert "pkg.speed cannot be imported: ModuleNotFoundError: No module named 'nobody_brings_it'" in ran.text
    assert "pkg.backends.other" not in ran.text
    # What it requires for other versions of Python cannot be installed.
    assert "pkg.backends.old: needs its_old_module" in ran.text
    # The main package must not need an extra.
    wheel.unlink()
    files = {"pkg/__init__.py": "import fastlib\n"}
    build_wheel(pytester.path / "dist", "pkg", files=files, requires=requires, extras=["speed", "other"])
    ran = run_dist("--wheel-find-links", links)
    assert ran.only("FAILED") == ["import[pkg]"]
    assert "fastlib is declared for the extra 'speed' only, but a plain import needs it" in ran.text


@needs_compiler
def test_what_native_modules_need(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """Parts of other distributions, own directories on ``sys.path``, own loaders, refusals: none is the wheel's fault."""
    build = pytester.path / "build"
    needs = 'PyObject *found = PyImport_ImportModule("{}"); if (!found) return -1;'
    build_wheel(
        pytester.path / "dist",
        "wholeclib",
        files={f"whole/native{SUFFIX}": extension(build, "native", body=needs.format("whole.python_part"))},
        tags=[LINUX_TAG],
    )
    build_wheel(
        pytester.path / "dist",
        "vendors",
        files={
            "vendors/__init__.py": "import os, sys\n\n\ndef start():\n"
            "    sys.path.insert(0, os.path.join(os.path.dirname(__file__), '_vendored'))\n",
            "vendors/_vendored/_bundle/__init__.py": "",
            "vendors/_vendored/_bundle/inner.py": "import _bundle\n",
            f"vendors/_vendored/fast{SUFFIX}": extension(build, "fast", body=needs.format("_bundle")),
        },
        tags=[LINUX_TAG],
    )
    build_wheel(
        pytester.path / "dist",
        "loads",
        files={
            "loads/__init__.py": "import importlib.machinery as m, importlib.util as u, os, sys\n"
            f"path = os.path.join(os.path.dirname(__file__), 'loads{SUFFIX}')\n"
            "spec = u.spec_from_file_location('loads', path, loader=m.ExtensionFileLoader('loads', path))\n"
            "native = u.module_from_spec(spec)\nnative.__spec__.loader.exec_module(native)\n",
            f"loads/loads{SUFFIX}": extension(
                build,
                "loads",
                body="const char *name = PyModule_GetName(module); if (!name || name[5]) {"
                ' PyErr_SetString(PyExc_RuntimeError, "only as a top-level module"); return -1; }',
            ),
        },
        tags=[LINUX_TAG],
    )
    build_wheel(
        pytester.path / "dist",
        "part-binary",
        files={
            "part_binary/__init__.py": "import sys\n\nif 'part' not in sys.modules:\n"
            "    raise ImportError('import part first')\n",
            f"part_binary/native{SUFFIX}": extension(build, "native"),
        },
        tags=[LINUX_TAG],
    )
    ran = run_dist("-rs")
    assert ran.only("FAILED") == ran.only("ERROR") == []
    assert {name for name in ran.only("SKIPPED") if name.startswith("import")} == {
        "import[whole.native]",
        "import[vendors._vendored.fast]",
        "import[part_binary]",
        "import[part_binary.native]",
    }
    assert "import[loads.loads]" not in ran.nodes
    assert ran.nodes["import[loads]"] == "PASSED"
    assert "another distribution brings whole.python_part" in ran.text
    assert "needs _bundle in vendors/_vendored of the wheel" in ran.text
    assert 'set import_ignore = ["vendors._vendored.fast"] in ' in ran.text
    assert "part_binary/__init__.py, line 4, refuses to be imported before part" in ran.text
    assert 'set import_ignore = ["part_binary"] in ' in ran.text
    assert "not imported, because import[part_binary] did not pass" in ran.text


@needs_compiler
def test_a_plain_library_is_not_imported(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """It has the suffix of a module and no init function: cffi and ctypes load such libraries."""
    library = pytester.path / "plain.so"
    source = pytester.path / "plain.c"
    source.write_text("int add(int a, int b) { return a + b; }\n", encoding="ascii")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={
            "pkg/__init__.py": "import ctypes, os\n"
            f"LIBRARY = ctypes.CDLL(os.path.join(os.path.dirname(__file__), '_plain{SUFFIX}'))\n",
            f"pkg/_plain{SUFFIX}": library.read_bytes(),
            f"pkg/real{SUFFIX}": extension(pytester.path / "build", "real"),
        },
        tags=[LINUX_TAG],
    )
    pytester.makepyfile(test_it="import pkg\ndef test_it():\n    assert pkg.LIBRARY.add(40, 2) == 42\n")
    ran = run_output(run_wheels("-v", "--wheel=dist", "--wheel-ignore=WHL302"))
    assert {name for name in ran.nodes if name.startswith("import")} == {"import[pkg]", "import[pkg.real]"}
    assert ran.nodes["test_it.py::test_it"] == "PASSED"
    assert "WHL610" in ran.text
    assert ran.only("FAILED") == ran.only("ERROR") == []
    assert ran.code == 0


@needs_compiler
def test_an_extra_that_installs_the_rest_of_a_package(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """Without it, the part is skipped, as above."""
    build_wheel(
        pytester.path / "links",
        "whole-of-tests",
        files={"whole/__init__.py": "from whole import native\n", "whole/rest.py": "X = 1\n"},
    )
    body = 'PyObject *found = PyImport_ImportModule("whole.rest"); if (!found) return -1;'
    build_wheel(
        pytester.path / "dist",
        "wholeclib",
        files={f"whole/native{SUFFIX}": extension(pytester.path / "build", "native", body=body)},
        tags=[LINUX_TAG],
        requires=["whole-of-tests; extra == 'all'"],
        extras=["all"],
    )
    ran = run_dist("--wheel-find-links", "links", "--wheel-extra=all")
    assert ran.nodes["import[whole.native]"] == "PASSED"
    assert ran.only("FAILED") == ran.only("ERROR") == ran.only("SKIPPED") == []


@needs_compiler
def test_what_looks_the_same_and_is_a_fault(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build = pytester.path / "build"
    needs = 'PyObject *found = PyImport_ImportModule("{}"); if (!found) return -1;'
    build_wheel(
        pytester.path / "dist",
        "whole",
        files={f"whole/native{SUFFIX}": extension(build, "native", body=needs.format("whole.python_part"))},
        tags=[LINUX_TAG],
    )
    # An import of Python 2: nothing changes sys.path.
    build_wheel(
        pytester.path / "dist",
        "implicit",
        files={
            "implicit/__init__.py": "import sys\nsys.path[:] = sys.path\n",
            "implicit/helpers.py": "",
            "implicit/more.py": "import helpers\n",
        },
    )
    build_wheel(
        pytester.path / "dist",
        "refuses",
        files={"refuses/__init__.py": "raise ImportError('built for another version')\n", "refuses/more.py": ""},
        entry_points={"console_scripts": {"refuses": "refuses.more:main"}},
    )
    ran = run_dist("-rs")
    assert ran.only("FAILED") == ["import[refuses]", "import[whole.native]", "modules[implicit]"]
    assert "the wheel does not contain whole.python_part" in ran.text
    assert "No module named 'helpers'" in ran.text
    assert "implicit/helpers.py of the wheel has that name, but only Python 2 searches the package" in ran.text
    assert "write `from . import helpers`" in ran.text
    refuses = failure(ran, "import[refuses]")
    assert "refuses/__init__.py, line 1, raises it" in refuses
    assert 'if that is intended, set import_ignore = ["refuses"] in [tool.wheelcheck] of pyproject.toml' in refuses
    # One cause is one failure.
    assert ran.nodes["entry[refuses]"] == ran.nodes["modules[refuses]"] == "SKIPPED"


def test_no_process_without_a_need(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg.py": f"assert {os.getpid()}\n"})
    assert run_dist().nodes == {"install": "PASSED", "import[pkg]": "PASSED"}


@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="a missing interpreter is downloaded, which is for Linux")
def test_files_are_compiled_by_the_interpreter_of_the_target(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """A type statement (PEP 695) is new in CPython 3.12."""
    files = {"pkg/__init__.py": "", "pkg/kinds.py": "type Number = int\n"}
    build_wheel(pytester.path / "dist", "pkg", files=files)
    ran = run_wheels(
        "--wheel=dist", "--wheel-select=WHL101", "--wheel-python=3.11,3.12", "--wheel-report=r.json", timeout=300
    )
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    (wheel,) = json.loads((pytester.path / "r.json").read_text(encoding="utf-8"))["wheels"]
    old, new = ({node["name"]: node for node in target["results"]} for target in wheel["targets"])
    assert [target["interpreter"] for target in wheel["targets"]] == ["cp311", "cp312"]
    assert {name: node["outcome"] for name, node in new.items()} == dict.fromkeys(
        ("install", "import[pkg]", "modules[pkg]", "compile"), "passed"
    )
    assert old["compile"]["outcome"] == "failed"
    assert "pkg/kinds.py, line 1: SyntaxError: invalid syntax" in old["compile"]["text"]


PLUGIN = """
import pytest

KEY = pytest.StashKey()

def helper():
    import pytest
    from _pytest.outcomes import Skipped
    return pytest, Skipped
"""


def test_a_plugin_needs_no_pytest(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """Who uses a plugin has pytest. Without the entry point, the same module is a fault."""
    files = {"pkg/__init__.py": "", "pkg/plug.py": PLUGIN}
    points = {"pytest11": {"demo": "pkg.plug"}}
    build_wheel(pytester.path / "dist", "pkg", files=files, entry_points=points)
    pytester.makepyfile(
        test_it="""
        from pkg import plug

        def test_it(request):
            assert request.config.pluginmanager.get_plugin("demo") is plug
            assert plug.helper()[0].__name__ == "pytest"
        """
    )
    ran = run_dist()
    assert ran.code == pytest.ExitCode.OK, ran.text
    assert ran.nodes["modules[pkg]"] == "SKIPPED"
    assert "skipped: pkg.plug: needs pytest; projects that use pkg.plug in their tests have it" in ran.text
    assert ran.nodes["test_it.py::test_it"] == "PASSED"
    build_wheel(pytester.path / "dist", "pkg", files=files)
    ran = run_dist("--ignore=test_it.py")
    assert ran.only("FAILED") == ["modules[pkg]"]
    assert "pkg.plug cannot be imported: ModuleNotFoundError" in failure(ran, "modules[pkg]")
