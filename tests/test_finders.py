"""The worker's quick finders: they find what the ordinary ones find, and take byte-code as PEP 552 says."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, FileFinder, ModuleSpec
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import pytest

from pytest_wheelcheck.worker import finders

UNCHECKED, CHECKED = PycInvalidationMode.UNCHECKED_HASH, PycInvalidationMode.CHECKED_HASH


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder on the path while the quick finders are at work."""
    before, loaded = list(sys.path_hooks), set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    finders.install()
    yield tmp_path
    finders.uninstall()
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - loaded:
        del sys.modules[name]
    assert sys.path_hooks == before
    assert not any(isinstance(finder, finders.DirectoryFinder) for finder in sys.path_importer_cache.values())


def about(spec: ModuleSpec | None) -> Any:
    if spec is None:
        return None
    ours = finders._Loader if spec.origin and spec.origin.endswith(".py") else None
    if ours is not None and isinstance(spec.loader, ours):
        kind: Any = ours.__base__
    else:
        kind = type(spec.loader)
    locations = spec.submodule_search_locations
    return spec.name, spec.origin, spec.cached, spec.has_location, kind, None if locations is None else list(locations)


def ordinary(folder: Path) -> FileFinder:
    for hook in sys.path_hooks:
        if hook is not finders.DirectoryFinder:
            try:
                found = hook(str(folder))
            except ImportError:
                continue
            assert isinstance(found, FileFinder)
            return found
    raise AssertionError("no ordinary finder")


def test_finds_what_the_ordinary_finder_finds(quick: Path) -> None:
    for name in ("plain.py", "both.py", "both/__init__.py", "namespace/inner.py", "package/__init__.pyc", "old.pyc"):
        path = quick / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    for suffix in EXTENSION_SUFFIXES:
        (quick / f"native{suffix}").write_bytes(b"")
    (quick / f"native{EXTENSION_SUFFIXES[-1]}").with_suffix(".py").write_bytes(b"")
    (quick / "plain").write_bytes(b"")
    (quick / "folder.py").mkdir()
    names = ["plain", "both", "namespace", "package", "old", "native", "folder", "missing", "Plain", "above.plain"]
    expected = [about(ordinary(quick).find_spec(name)) for name in names]
    assert [about(finders.DirectoryFinder(str(quick)).find_spec(name)) for name in names] == expected
    assert sum(found is None for found in expected) == 3
    with pytest.raises(ImportError):
        finders.DirectoryFinder(str(quick / "plain.py"))


def test_the_standard_library_is_found_alike(quick: Path) -> None:
    folder = Path(os.__file__).parent
    names = sorted({path.name.partition(".")[0] for path in folder.iterdir()} - {"__pycache__"})
    quick_one, usual = finders.DirectoryFinder(str(folder)), ordinary(folder)
    different = [name for name in names if about(quick_one.find_spec(name)) != about(usual.find_spec(name))]
    assert different == []
    assert len(names) > 100


@pytest.mark.parametrize(
    ("mode", "value"), [(UNCHECKED, 1), (CHECKED, 2), (PycInvalidationMode.TIMESTAMP, 2), (None, 2)]
)
def test_only_unchecked_byte_code_is_taken_without_a_look_at_the_source(
    quick: Path, mode: PycInvalidationMode | None, value: int
) -> None:
    path = quick / "subject_of_finders.py"
    path.write_text("value = 1\ndef where(): return where.__code__.co_filename\n")
    if mode is not None:
        # As if it had been compiled somewhere else.
        py_compile.compile(str(path), dfile="/elsewhere/subject.py", invalidation_mode=mode)
    path.write_text("value = 2 # longer\ndef where(): return where.__code__.co_filename\n")
    module = importlib.import_module("subject_of_finders")
    assert module.value == value
    assert module.where() == module.__file__ == str(path)
    assert module.__spec__ is not None
    assert module.__spec__.cached == importlib.util.cache_from_source(str(path))


@pytest.mark.parametrize("size", [0, 5, 16, 40])
def test_byte_code_that_was_cut_off_is_left_aside(quick: Path, size: int) -> None:
    path = quick / "subject_of_finders.py"
    path.write_text("value = 1\ndef function(): return [value] * 1000\n")
    compiled = Path(str(py_compile.compile(str(path), invalidation_mode=UNCHECKED)))
    compiled.write_bytes(compiled.read_bytes()[:size])
    assert importlib.import_module("subject_of_finders").value == 1


def test_check_that_the_interpreter_was_told_to_make_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    path = tmp_path / "subject.py"
    path.write_text("value = 1")
    py_compile.compile(str(path), invalidation_mode=UNCHECKED)
    path.write_text("value = 2")
    code = (
        "import sys; from pytest_wheelcheck.worker import finders; finders.install();"
        f"sys.path.insert(0, {str(tmp_path)!r}); import subject; print(subject.value)"
    )
    values = [
        subprocess.run(
            [sys.executable, *options, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
        for options in ([], ["--check-hash-based-pycs", "always"])
    ]
    assert values == ["1", "2"]


def test_modules_that_are_written_and_listed_meanwhile(quick: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("written_meanwhile")
    package = quick / "written_meanwhile"
    package.mkdir()
    for name in ("__init__.py", "one.py", "two.py", "no-module.txt"):
        (package / name).write_text("")
    importlib.invalidate_caches()
    module = importlib.import_module("written_meanwhile")
    assert [found.name for found in pkgutil.iter_modules(module.__path__, "x.")] == ["x.one", "x.two"]
    shutil.rmtree(package)
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("written_meanwhile.one")


def test_packages_with_parts_in_two_folders(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for folder, name in ((quick, "one"), (other, "two")):
        (folder / "shared_space").mkdir()
        (folder / "shared_space" / f"{name}.py").write_text(f"value = {name!r}")
    sys.path.append(str(other))
    try:
        values = [importlib.import_module(f"shared_space.{name}").value for name in ("one", "two")]
    finally:
        sys.path.remove(str(other))
    assert values == ["one", "two"]
