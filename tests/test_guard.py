"""Unit tests of the guard: the names of the wheel resolve from its environment only."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_wheelcheck.worker import guard as guard_module
from pytest_wheelcheck.worker.guard import Guard, is_test_name


@pytest.mark.parametrize(
    ("name", "is_test"),
    [
        ("test", True),
        ("tests", True),
        ("_tests", True),
        ("test_api", True),
        ("tests_unit", True),
        ("api_test", True),
        ("conftest", True),
        ("Tests", True),
        # Public modules of packages with similar names.
        ("testing", False),
        ("tester", False),
        ("latest", False),
        ("contest", False),
        ("protest", False),
        ("attest", False),
        ("testify", False),
        ("", False),
    ],
)
def test_names_of_tests(name: str, is_test: bool) -> None:
    assert is_test_name(name) is is_test


@given(st.from_regex(r"[a-z_]{1,8}", fullmatch=True))
def test_names_with_the_prefix(name: str) -> None:
    assert is_test_name(f"test_{name}")
    assert is_test_name(f"{name}_test")


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path, Path]]:
    """Site-packages, a source tree that comes first on ``sys.path``, and an overlay of test tools that comes last."""
    site, source, tools = tmp_path / "site", tmp_path / "source", tmp_path / "tools"
    for directory in (site, source, tools):
        directory.mkdir()
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(source), str(site), *sys.path, str(tools)])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield site, source, tools
    for name in set(sys.modules) - before:
        del sys.modules[name]


def install_guard(directories: tuple[Path, Path, Path], *names: str) -> Guard:
    site, source, tools = directories
    guard = Guard(names, [str(site)], [str(source)], "gw-pkg", [str(tools)])
    guard.move_to_front()
    return guard


def test_modules_come_from_the_environment(directories: tuple[Path, Path, Path]) -> None:
    site, source, _ = directories
    write(site, {"gw_pkg/__init__.py": "W = 'wheel'", "gw_pkg/mod.py": "W = 'wheel'"})
    write(
        source,
        {
            "gw_pkg/__init__.py": "W = 'source'",
            "gw_pkg/mod.py": "W = 'source'",
            "gw_pkg/forgotten.py": "",
            "gw_pkg/tests/__init__.py": "from .. import W",
            "gw_pkg/tests/helper.py": "W = 'helper'",
            "gw_pkg/conftest.py": "",
            "gw_gone.py": "",
            "gw_free.py": "W = 'free'",
        },
    )
    guard = install_guard(directories, "gw_pkg", "gw_gone")
    assert importlib.import_module("gw_pkg.mod").W == "wheel"
    with pytest.raises(ModuleNotFoundError) as missing:
        importlib.import_module("gw_pkg.forgotten")
    assert missing.value.name == "gw_pkg.forgotten"
    with pytest.raises(ModuleNotFoundError, match="the source tree is not searched") as gone:
        importlib.import_module("gw_gone")
    assert gone.value.name == "gw_gone"
    # Tests of the package come from the source tree, with the modules next to them. Other names are not changed.
    assert importlib.import_module("gw_pkg.tests").W == "wheel"
    assert importlib.import_module("gw_pkg.tests.helper").W == "helper"
    assert importlib.import_module("gw_pkg.conftest").__file__ == str(source / "gw_pkg/conftest.py")
    assert importlib.import_module("gw_free").W == "free"
    assert guard.foreign() == []


def test_it_stays_first(directories: tuple[Path, Path, Path]) -> None:
    guard = install_guard(directories, "gw_pkg")

    class Other:
        def find_spec(self, *_: Any) -> ModuleSpec | None:
            return None

    sys.meta_path.insert(0, Other())
    assert sys.meta_path[0] is not guard
    guard.move_to_front()
    guard.move_to_front()
    assert sys.meta_path[0] is guard
    assert sys.meta_path.count(guard) == 1


def test_namespace_packages(directories: tuple[Path, Path, Path]) -> None:
    site, source, tools = directories
    write(site, {"gw_ns/one.py": "W = 'wheel'"})
    write(source, {"gw_ns/two.py": "W = 'source'"})
    write(tools, {"gw_ns/three.py": "W = 'tool'", "gw_own/__init__.py": "W = 'tool'"})
    write(site, {"gw_own/part.py": "W = 'wheel'"})
    guard = install_guard(directories, "gw_ns", "gw_own")
    assert importlib.import_module("gw_ns.one").W == "wheel"
    assert importlib.import_module("gw_ns.three").W == "tool"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gw_ns.two")
    # A regular package among the test tools does not replace the wheel's namespace package.
    assert importlib.import_module("gw_own.part").W == "wheel"
    assert not hasattr(sys.modules["gw_own"], "W")
    assert guard.foreign() == []


def test_other_copies(directories: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site, source, tools = directories
    for directory in (site, source):
        write(directory, {"gw_pkg/__init__.py": "", "gw_pkg/mod.py": "", "gw_pkg/tests/test_a.py": "", "gw_one.py": ""})
    write(source, {"gw_pkg/only.py": "", "setup.py": ""})
    write(tools, {"gw_pkg/tool.py": "", "gw_pkg/mod.py": ""})
    guard = install_guard(directories, "gw_pkg", "gw_one")
    cases = {
        ("gw_pkg", site / "gw_pkg/__init__.py"): False,
        ("gw_pkg", source / "gw_pkg/__init__.py"): True,
        ("gw_pkg.mod", tmp_path / "anywhere/mod.py"): True,
        ("gw_pkg.tests.test_a", source / "gw_pkg/tests/test_a.py"): False,
        # A file loaded under another name is foreign if the wheel contains the same file.
        ("src.gw_pkg.mod", source / "gw_pkg/mod.py"): True,
        ("gw_one_again", source / "gw_one.py"): True,
        ("src.gw_pkg.only", source / "gw_pkg/only.py"): False,
        ("test_a", source / "gw_pkg/tests/test_a.py"): False,
        ("setup", source / "setup.py"): False,
        ("json", Path(types.__file__)): False,
        # Test tools may share a namespace package with the wheel, but not a module.
        ("gw_pkg.tool", tools / "gw_pkg/tool.py"): False,
        ("gw_pkg.mod", tools / "gw_pkg/mod.py"): True,
    }
    assert {case: guard.is_foreign(case[0], str(case[1])) for case in cases} == cases
    for name, file in (("gw_pkg.mod", str(source / "gw_pkg/mod.py")), ("gw_pkg.fine", None)):
        module = types.ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)
    assert guard.foreign() == [("gw_pkg.mod", str(source / "gw_pkg/mod.py"))]


def test_a_lazy_module_stays_lazy(directories: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("it was loaded")

    monkeypatch.setitem(sys.modules, "gw_pkg.lazy", Lazy("gw_pkg.lazy"))
    monkeypatch.setitem(sys.modules, "gw_pkg.none", None)
    assert install_guard(directories, "gw_pkg").foreign() == []


def test_metadata(directories: tuple[Path, Path, Path]) -> None:
    site, source, _ = directories
    write(site, {"GW_pkg-2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: GW.pkg\nVersion: 2.0\n"})
    write(source, {"gw_pkg.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: gw-pkg\nVersion: 0.1\n"})
    write(source, {"gw_other.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: gw-other\nVersion: 0.2\n"})
    assert importlib.metadata.version("gw-pkg") == "0.1"
    install_guard(directories, "gw_pkg")
    for spelling in ("gw-pkg", "gw_pkg", "GW.Pkg"):
        assert importlib.metadata.version(spelling) == "2.0"
    assert importlib.metadata.version("gw-other") == "0.2"
    first = next(found for found in importlib.metadata.distributions() if found.name.lower().startswith("gw"))
    assert first.version == "2.0"


def test_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "guard"
    entries = ["name=one", "name=zwei_ü", "name=json", "site=/s=1", "root=/r\n2", "overlay=/o", "dist=the-dist", "odd"]
    file.write_bytes("\0".join(entries).encode())
    monkeypatch.setenv("WHEELCHECK_GUARD", str(file))
    guard = guard_module.install()
    assert guard is not None
    # The standard library comes first, so the guard does not handle its names.
    assert guard.names == {"one", "zwei_ü"}
    assert (guard.sites, guard.roots, guard.overlays, guard.dist) == (["/s=1"], ["/r\n2"], ["/o"], "the-dist")
    assert sys.path[-1] == "/o"
    assert guard_module.install() is guard
    assert sys.path.count("/o") == 1


def test_without_a_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WHEELCHECK_GUARD", raising=False)
    before = list(sys.meta_path)
    assert guard_module.install() is None
    monkeypatch.setenv("WHEELCHECK_GUARD", str(tmp_path / "absent"))
    assert guard_module.install() is None
    assert sys.meta_path == before
    assert "cannot read the settings of the import guard" in capsys.readouterr().err


def test_it_imports_nothing() -> None:
    # Each interpreter that starts in the environment imports it.
    code = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(Path(guard_module.__file__).parent)!r})
import guard
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["__future__", "guard"]
