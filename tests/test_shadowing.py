"""Nothing shadows the wheel: in every layout, tests import the installed files, or fail with the reason."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from builders import build_wheel
from compiled import LINUX_TAG, SUFFIX, extension
from nodes import COMMAND, RunDist, run_output

WHEEL = 'WHERE = "wheel"\n'
SOURCE = 'WHERE = "source"\n'


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


#: A test file that uses the package in every way that a test can.
EVERY_WAY = """
import importlib.metadata, importlib.resources, multiprocessing, os, subprocess, sys
import pytest
import pkg, pkg.helpers
from pkg import _native

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

def where():
    import pkg.sub
    return pkg.WHERE, pkg.sub.WHERE, importlib.metadata.version("pkg")

def run(*args, **more):
    done = subprocess.run([sys.executable, *args], cwd=ROOT, capture_output=True, text=True, **more)
    assert not done.returncode, done.stderr
    return done.stdout.strip()

def test_import():
    assert where() == ("wheel", "wheel", "1.0")
    assert _native.answer() == 42
    assert not pkg.__file__.startswith(ROOT)

def test_root_is_on_the_path():
    assert ROOT in sys.path

@pytest.mark.parametrize("more", [{}, {"env": {}}, {"env": {"PYTHONPATH": ROOT}}], ids=["as-is", "cleared", "path"])
def test_subprocess(more):
    assert run("-m", "pkg", **more) == "wheel"
    code = "import importlib.metadata as m, pkg, pytest; e = [e.value for e in m.entry_points(group='x')]"
    assert run("-c", code + "; print(pkg.WHERE, m.version('pkg'), e)", **more) == "wheel 1.0 ['pkg:new']"

def test_spawn():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(where) == ("wheel", "wheel", "1.0")

def test_metadata():
    assert [d.version for d in importlib.metadata.distributions(name="pkg")][0] == "1.0"
    assert importlib.metadata.requires("pkg") is None
    assert importlib.resources.files("pkg").joinpath("data.txt").read_text() == "wheel"

def test_assertions_of_the_wheel_are_rewritten():
    assert pkg.helpers.WHERE == "wheel"
    with pytest.raises(AssertionError, match="assert 2 == 1"):
        pkg.helpers.check(2)
"""

HELPERS = "def check(value):\n    assert value == 1\n"


@pytest.fixture
def flat(pytester: pytest.Pytester) -> Path:
    """A project whose source directory has no compiled module, but a stale egg-info."""
    native: dict[str, str | bytes]
    tag = LINUX_TAG
    if sys.platform == "win32":
        # There is no compiler. A pure module can be shadowed in the same ways.
        native, tag = {"pkg/_native.py": "def answer():\n    return 42\n"}, "py3-none-any"
    elif sys.platform == "linux" and shutil.which("gcc"):
        native = {f"pkg/_native{SUFFIX}": extension(pytester.path / "build", "_native")}
    else:
        pytest.skip("needs gcc on Linux")
    files = native | {
        "pkg/__init__.py": WHEEL,
        "pkg/helpers.py": WHEEL + HELPERS,
        "pkg/sub/__init__.py": WHEEL,
        "pkg/__main__.py": "import pkg\nprint(pkg.WHERE)\n",
        "pkg/data.txt": "wheel",
    }
    build_wheel(pytester.path / "dist", "pkg", files=files, tags=[tag], entry_points={"x": {"name": "pkg:new"}})
    write(
        pytester.path,
        {
            "pkg/__init__.py": SOURCE,
            "pkg/helpers.py": SOURCE + HELPERS,
            "pkg/sub/__init__.py": SOURCE,
            "pkg/__main__.py": "print('source')",
            "pkg/data.txt": "source",
            "pkg.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: pkg\nVersion: 0.1\nRequires-Dist: stale\n",
            "pkg.egg-info/entry_points.txt": "[x]\nname = pkg:old\n",
            "conftest.py": "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"
            "import pytest\npytest.register_assert_rewrite('pkg.helpers')\nimport pkg.helpers\n",
            "tests/test_every.py": EVERY_WAY,
        },
    )
    return pytester.path


EVERY_TEST = [
    "test_assertions_of_the_wheel_are_rewritten",
    "test_import",
    "test_metadata",
    "test_root_is_on_the_path",
    "test_spawn",
    "test_subprocess[as-is]",
    "test_subprocess[cleared]",
    "test_subprocess[path]",
]


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_a_flat_layout(flat: Path, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    if mode != "append":
        (flat / "tests/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(flat), prepend=os.pathsep)
    ran = run_dist(f"--import-mode={mode}", "tests")
    assert [name.rpartition("::")[2] for name in ran.only("PASSED") if name.startswith("tests/")] == EVERY_TEST
    assert ran.only("FAILED") == []
    assert ran.code == 0


def test_a_flat_layout_and_the_pytest_script(flat: Path, pytester: pytest.Pytester) -> None:
    # Without ``python -m``, the working directory is not on sys.path; the ini file adds it.
    write(flat, {"pytest.ini": "[pytest]\npythonpath = .\n", "conftest.py": "import pytest\n"})
    result = pytester.run(
        Path(COMMAND).with_stem("pytest"), "-p", "no:cacheprovider", "-v", "--wheel-select=WHL101",
        f"--wheel-python={sys.executable}", "--wheel", "dist", "-k", "not rewritten", "tests", timeout=60,
    )  # fmt: skip
    ran = run_output(result)
    assert (ran.code, ran.only("FAILED")) == (0, [])
    assert "tests/test_every.py::test_subprocess[cleared]" in ran.nodes


def test_a_src_layout(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": WHEEL, "single.py": WHEEL})
    write(
        pytester.path,
        {
            "src/pkg/__init__.py": SOURCE,
            "src/pkg/forgotten.py": SOURCE,
            "src/single.py": SOURCE,
            "src/pkg/tests/test_below.py": "import pkg\ndef test_below():\n    assert pkg.WHERE == 'wheel'\n",
            "src/pkg/tests/conftest.py": "import pkg\nassert pkg.WHERE == 'wheel'\n",
            "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\naddopts = "--import-mode=importlib"\n',
            "tests/test_a.py": "import pytest, pkg, single, sys\n"
            "def test_names():\n    assert (pkg.WHERE, single.WHERE) == ('wheel', 'wheel')\n"
            "def test_forgotten():\n"
            "    with pytest.raises(ModuleNotFoundError): import pkg.forgotten\n"
            "def test_lent():\n    assert any(p.endswith('src') for p in sys.path)\n",
        },
    )
    ran = run_dist("tests", "src")
    assert ran.only("PASSED")[-4:] == [
        "src/pkg/tests/test_below.py::test_below",
        "tests/test_a.py::test_forgotten",
        "tests/test_a.py::test_lent",
        "tests/test_a.py::test_names",
    ]
    assert ran.code == 0


INSIDE = """
import pkg
from pkg.tests import helper
from ..sub import WHERE
from . import helper as again

def test_wheel():
    assert (pkg.WHERE, WHERE) == ("wheel", "wheel")
    assert helper is again

def test_file():
    print("THIS FILE", __file__)
    import pytest
    with pytest.raises(AssertionError, match="assert 1 == 2"):
        assert 1 == int("2")

def test_{name}():
    pass
"""


def inside(name: str) -> dict[str, str]:
    return {
        "tests/__init__.py": "",
        "tests/helper.py": "",
        "tests/conftest.py": f"import pytest\n@pytest.fixture(autouse=True)\ndef f(): print('CONFTEST {name}')\n",
        "tests/test_inside.py": INSIDE.format(name=name),
    }


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
@pytest.mark.parametrize("layout", ["", "src/"])
def test_tests_inside_the_package_that_the_wheel_ships(
    pytester: pytest.Pytester, run_dist: RunDist, mode: str, layout: str
) -> None:
    shipped = {f"pkg/{name}": text for name, text in inside("installed").items()}
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": WHEEL, "pkg/sub.py": WHEEL, **shipped})
    write(pytester.path, {f"{layout}pkg/__init__.py": SOURCE, f"{layout}pkg/sub.py": SOURCE})
    write(pytester.path / f"{layout}pkg", inside("source"))
    ran = run_dist(f"--import-mode={mode}", "-rP", f"{layout}pkg")
    tests = [name.rpartition("::")[2] for name in ran.only("PASSED") if "test_inside" in name]
    # The installed copies run, with locations in the user's file.
    assert tests == ["test_file", "test_installed", "test_wheel"]
    (line, *_) = (line for line in ran.text.splitlines() if line.startswith("THIS FILE"))
    assert "site-packages" in line
    assert "CONFTEST installed" in ran.text
    assert "CONFTEST source" not in ran.text
    assert ran.code == 0


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
@pytest.mark.parametrize("layout", ["", "src/"])
def test_tests_inside_the_package_that_the_wheel_lacks(
    pytester: pytest.Pytester, run_dist: RunDist, mode: str, layout: str
) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": WHEEL, "pkg/sub.py": WHEEL})
    write(
        pytester.path / f"{layout}pkg",
        {
            "__init__.py": SOURCE,
            "sub.py": SOURCE,
            "left_out/__init__.py": SOURCE,
            "left_out/tests/__init__.py": "",
            "left_out/tests/test_out.py": "def test_out(): pass\n",
            "testing/__init__.py": SOURCE,
            "tests/test_more.py": "import pytest, subprocess, sys\n"
            "def test_a_missing_part_stays_missing():\n"
            "    with pytest.raises(ImportError): import pkg.left_out\n"
            "    with pytest.raises(ImportError): import pkg.testing\n"
            "def test_child():\n"
            "    code = 'import pkg.tests.helper, pkg; assert pkg.WHERE == \"wheel\"'\n"
            "    subprocess.run([sys.executable, '-c', code], check=True)\n",
            **inside("source"),
        },
    )
    ran = run_dist(f"--import-mode={mode}", "-rP", f"{layout}pkg")
    directory = f"{layout}pkg/tests"
    assert [name for name in ran.only("PASSED") if "test_" in name] == [
        f"{directory}/test_inside.py::test_file",
        f"{directory}/test_inside.py::test_source",
        f"{directory}/test_inside.py::test_wheel",
        f"{directory}/test_more.py::test_a_missing_part_stays_missing",
        f"{directory}/test_more.py::test_child",
    ]
    # Tests of a part that the wheel lacks cannot be collected; the failure has the reason.
    assert ran.only("FAILED") == [f"{layout}pkg/left_out/tests/test_out.py"]
    assert "No module named 'pkg.left_out'" in ran.text
    assert "CONFTEST source" in ran.text
    assert ran.code == 1


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_namespace_packages(pytester: pytest.Pytester, run_dist: RunDist, mode: str) -> None:
    links = pytester.path / "links"
    build_wheel(links, "ns-tool", files={"ns/tool/__init__.py": "WHERE = 'tool'\n"})
    build_wheel(links, "ns-dep", files={"ns/dep/__init__.py": "WHERE = 'dep'\n"})
    build_wheel(pytester.path / "dist", "ns-pkg", files={"ns/pkg/__init__.py": WHEEL}, requires=["ns-dep"])
    write(
        pytester.path,
        {
            "ns/pkg/__init__.py": SOURCE,
            "ns/other/__init__.py": SOURCE,
            "ns/pkg/tests/__init__.py": "",
            "ns/pkg/tests/test_n.py": "from .. import WHERE\nfrom ns.pkg.tests import test_n\n"
            "def test_relative():\n    assert WHERE == 'wheel'\n    assert __name__ == 'ns.pkg.tests.test_n'\n",
            "tests/test_ns.py": "import pytest, ns.pkg, ns.dep, ns.tool\n"
            "def test_parts():\n    assert (ns.pkg.WHERE, ns.dep.WHERE, ns.tool.WHERE) == ('wheel', 'dep', 'tool')\n"
            "def test_source():\n    with pytest.raises(ImportError): import ns.other\n",
        },
    )
    ran = run_dist(f"--import-mode={mode}", "--wheel-find-links=links", "--wheel-requires=ns-tool", "tests", "ns")
    assert ran.only("FAILED") == []
    assert ran.only("PASSED")[-3:] == [
        "ns/pkg/tests/test_n.py::test_relative",
        "tests/test_ns.py::test_parts",
        "tests/test_ns.py::test_source",
    ]
    assert ran.code == 0


def test_doctests_of_the_wheel_are_run(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    text = '"""Where.\n\n>>> WHERE\n\'wheel\'\n"""\n'
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": text + WHEEL, "pkg/mod.py": text + WHEEL})
    write(pytester.path, {"src/pkg/__init__.py": text + SOURCE, "src/pkg/mod.py": text + SOURCE})
    ran = run_dist("--doctest-modules", "src")
    assert ran.only("FAILED") == []
    assert len([name for name in ran.only("PASSED") if "src/pkg" in name]) == 2
    assert ran.code == 0


def test_copies_that_tests_load_are_found(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(
        pytester.path / "dist",
        "pkg",
        files={"pkg/__init__.py": WHEEL, "pkg/mod.py": WHEEL, "pkg/two.py": WHEEL, "pkg/three.py": WHEEL},
    )
    write(
        pytester.path,
        {
            **{f"src/pkg/{name}.py": SOURCE for name in ("__init__", "mod", "two", "three")},
            "tests/test_cheats.py": """
import importlib.machinery, importlib.util, os, sys
import pytest
import pkg

SRC = os.path.abspath("src/pkg")

def load(name, file, keep):
    spec = importlib.util.spec_from_file_location(name, os.path.join(SRC, file))
    module = importlib.util.module_from_spec(spec)
    if keep:
        sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

def test_honest_before():
    assert pkg.WHERE == "wheel"

def test_replaced():
    before = sys.modules["pkg"]
    assert load("pkg", "__init__.py", True).WHERE == "source"

def test_restored(monkeypatch):
    import pkg.mod
    monkeypatch.setitem(sys.modules, "pkg.mod", None)
    assert load("pkg.mod", "mod.py", True).WHERE == "source"

def test_never_registered():
    assert load("pkg.mod", "mod.py", False).WHERE == "source"

def test_never_registered_again():
    assert load("pkg.mod", "mod.py", False).WHERE == "source"

def test_loader():
    loader = importlib.machinery.SourceFileLoader("pkg.three", os.path.join(SRC, "three.py"))
    sys.modules["pkg.three"] = module = loader.load_module()
    assert module.WHERE == "source"

def test_path():
    pkg.__path__.insert(0, SRC)
    from pkg import two
    assert two.WHERE == "source"
    pkg.__path__.remove(SRC)

def test_other_name():
    import src.pkg.three
    assert src.pkg.three.WHERE == "source"

def test_honest_after():
    pass
""",
        },
    )
    ran = run_dist("-W", "ignore::DeprecationWarning", "tests")
    assert {name.rpartition("::")[2]: outcome for name, outcome in ran.nodes.items() if "test_" in name} == {
        "test_honest_before": "PASSED",
        "test_replaced": "ERROR",
        "test_restored": "ERROR",
        "test_never_registered": "ERROR",
        "test_never_registered_again": "ERROR",
        "test_loader": "ERROR",
        "test_path": "ERROR",
        "test_other_name": "ERROR",
        "test_honest_after": "PASSED",
    }
    assert "not the wheel: pkg.mod was imported from" in ran.text
    assert "src.pkg.three was imported from" in ran.text
    assert ran.code == 1


def test_a_copy_loaded_by_a_test_module_or_conftest_is_found(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": WHEEL, "pkg/mod.py": WHEEL})
    write(
        pytester.path,
        {
            "pkg/mod.py": SOURCE,
            "tests/test_a.py": "import runpy, importlib.util, os, sys\n"
            "spec = importlib.util.spec_from_file_location('pkg.mod', os.path.abspath('pkg/mod.py'))\n"
            "sys.modules['pkg.mod'] = module = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(module)\n"
            "def test_never(): pass\n",
            "tests/test_b.py": "def test_fine(): pass\n",
            # A module that also fails itself, which is the reported failure.
            "tests/test_c.py": "import sys, types\nsys.modules['pkg.more'] = module = types.ModuleType('pkg.more')\n"
            "module.__file__ = '/elsewhere/pkg/more.py'\nraise ValueError('own failure')\n",
            "tests/test_d.py": "def test_fine_too(): pass\n",
        },
    )
    ran = run_dist("tests")
    assert ran.nodes["tests/test_a.py"] == "FAILED"
    assert ran.nodes["tests/test_b.py::test_fine"] == "PASSED"
    assert ran.nodes["tests/test_c.py"] == "FAILED"
    assert ran.nodes["tests/test_d.py::test_fine_too"] == "PASSED"
    assert "own failure" in ran.text
    assert "pkg.more was imported from /elsewhere" in ran.text
    assert "pkg.mod was imported from" in ran.text
    assert ran.code == 1


def test_test_directories_with_the_name_of_the_package(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": WHEEL, "pkg/sub/__init__.py": WHEEL})
    same = "import pkg.sub\ndef test_{0}():\n    assert (pkg.WHERE, pkg.sub.WHERE) == ('wheel', 'wheel')\n"
    write(
        pytester.path,
        {
            "tests/pkg/__init__.py": "",
            "tests/pkg/test_mirror.py": same.format("mirror"),
            "tests/pkg/sub/__init__.py": "",
            "tests/pkg/sub/test_deep.py": same.format("deep"),
            "more/pkg/__init__.py": "",
            "more/pkg/test_mirror.py": same.format("second"),
        },
    )
    ran = run_dist("tests", "more")
    assert ran.only("PASSED")[-2:] == [
        "tests/pkg/sub/test_deep.py::test_deep",
        "tests/pkg/test_mirror.py::test_mirror",
    ]
    # Two files with one dotted name: pytest refuses the second, and never confuses them.
    assert ran.nodes["more/pkg/test_mirror.py"] == "FAILED"
    assert "import file mismatch" in ran.text


def test_the_directory_of_the_worker_is_not_importable(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": WHEEL})
    write(
        pytester.path,
        {
            "test_w.py": "import pytest\n@pytest.mark.parametrize('name', ['env', 'tools', 'channel', 'session'])\n"
            "def test_foreign(name):\n    with pytest.raises(ImportError): __import__(name)\n"
        },
    )
    ran = run_dist("test_w.py")
    assert (ran.code, len([name for name in ran.only("PASSED") if "test_foreign" in name])) == (0, 4)


def test_tests_of_the_test_tools_are_not_collected(
    pytester: pytest.Pytester, run_dist: RunDist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the directory for temporary files is in the project."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(pytester.mkdir(f"own-{name}")))
    build_wheel(pytester.path / "links", "tool", files={"tool/tests/test_tool.py": "def test_tool(): pass\n"})
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": WHEEL})
    write(pytester.path, {"test_w.py": "def test_w(): pass\n"})
    ran = run_dist("--wheel-find-links=links", "--wheel-requires=tool")
    assert [name for name in ran.nodes if ".py" in name] == ["test_w.py::test_w"]
    assert ran.code == 0


def test_a_package_that_imports_its_own_name_again(pytester: pytest.Pytester, run_dist: RunDist) -> None:
    """As OpenCV does: it removes itself from `sys.modules`, and imports a module of its name from a directory that it adds
    to `sys.path`.
    """
    loader = (
        "import importlib, os, sys\n"
        "assert not hasattr(sys, 'was_here'), 'recursion'\n"
        "sys.was_here = True\n"
        "sys.path.insert(1, os.path.dirname(__file__))\n"
        "mine = sys.modules.pop('pkg')\n"
        "inner = importlib.import_module('pkg')\n"
        "sys.modules['pkg'] = mine\n"
        "WHERE = inner.WHERE\n"
    )
    build_wheel(pytester.path / "dist", "pkg", files={"pkg/__init__.py": loader, "pkg/pkg.py": WHEEL})
    write(
        pytester.path,
        {
            "pkg.py": SOURCE,
            "test_w.py": "import pkg\n\ndef test_where():\n    assert pkg.WHERE == 'wheel'\n",
        },
    )
    ran = run_dist("test_w.py")
    assert (ran.code, ran.nodes.get("test_w.py::test_where")) == (0, "PASSED")
