"""The worker's fast finders find the same modules as the standard ones, and load bytecode as PEP 552 specifies."""

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
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory on ``sys.path`` while the fast finders are installed."""
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


def summary(spec: ModuleSpec | None) -> Any:
    if spec is None:
        return None
    ours = finders._Loader if spec.origin and spec.origin.endswith(".py") else None
    if ours is not None and isinstance(spec.loader, ours):
        kind: Any = ours.__base__
    else:
        kind = type(spec.loader)
    locations = spec.submodule_search_locations
    return spec.name, spec.origin, spec.cached, spec.has_location, kind, None if locations is None else list(locations)


def standard_finder(directory: Path) -> FileFinder:
    for hook in sys.path_hooks:
        if hook is not finders.DirectoryFinder:
            try:
                found = hook(str(directory))
            except ImportError:
                continue
            assert isinstance(found, FileFinder)
            return found
    raise AssertionError("no standard finder")


def test_finds_the_same_modules(directory: Path) -> None:
    for name in ("plain.py", "both.py", "both/__init__.py", "namespace/inner.py", "package/__init__.pyc", "old.pyc"):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    for suffix in EXTENSION_SUFFIXES:
        (directory / f"native{suffix}").write_bytes(b"")
    (directory / f"native{EXTENSION_SUFFIXES[-1]}").with_suffix(".py").write_bytes(b"")
    (directory / "plain").write_bytes(b"")
    (directory / "folder.py").mkdir()
    names = ["plain", "both", "namespace", "package", "old", "native", "folder", "missing", "Plain", "above.plain"]
    expected = [summary(standard_finder(directory).find_spec(name)) for name in names]
    assert [summary(finders.DirectoryFinder(str(directory)).find_spec(name)) for name in names] == expected
    assert sum(found is None for found in expected) == 3
    with pytest.raises(ImportError):
        finders.DirectoryFinder(str(directory / "plain.py"))


def test_finds_the_standard_library(directory: Path) -> None:
    stdlib = Path(os.__file__).parent
    names = sorted({path.name.partition(".")[0] for path in stdlib.iterdir()} - {"__pycache__"})
    fast, standard = finders.DirectoryFinder(str(stdlib)), standard_finder(stdlib)
    different = [name for name in names if summary(fast.find_spec(name)) != summary(standard.find_spec(name))]
    assert different == []
    assert len(names) > 100


@pytest.mark.parametrize(
    ("mode", "value"), [(UNCHECKED, 1), (CHECKED, 2), (PycInvalidationMode.TIMESTAMP, 2), (None, 2)]
)
def test_only_unchecked_bytecode_is_loaded_without_a_check_of_the_source(
    directory: Path, mode: PycInvalidationMode | None, value: int
) -> None:
    path = directory / "subject_of_finders.py"
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
def test_truncated_bytecode_is_ignored(directory: Path, size: int) -> None:
    path = directory / "subject_of_finders.py"
    path.write_text("value = 1\ndef function(): return [value] * 1000\n")
    compiled = Path(str(py_compile.compile(str(path), invalidation_mode=UNCHECKED)))
    compiled.write_bytes(compiled.read_bytes()[:size])
    assert importlib.import_module("subject_of_finders").value == 1


def test_the_option_check_hash_based_pycs_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_modules_written_later_are_found_and_listed(directory: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("written_later")
    package = directory / "written_later"
    package.mkdir()
    for name in ("__init__.py", "one.py", "two.py", "no-module.txt"):
        (package / name).write_text("")
    importlib.invalidate_caches()
    module = importlib.import_module("written_later")
    assert [found.name for found in pkgutil.iter_modules(module.__path__, "x.")] == ["x.one", "x.two"]
    shutil.rmtree(package)
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("written_later.one")


def test_namespace_packages_in_two_directories(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for parent, name in ((directory, "one"), (other, "two")):
        (parent / "shared_space").mkdir()
        (parent / "shared_space" / f"{name}.py").write_text(f"value = {name!r}")
    sys.path.append(str(other))
    try:
        values = [importlib.import_module(f"shared_space.{name}").value for name in ("one", "two")]
    finally:
        sys.path.remove(str(other))
    assert values == ["one", "two"]
