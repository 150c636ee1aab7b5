"""WHL8xx: content that works, but should not be in a wheel. All are warnings."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.system.sizes import show_size

#: Top-level names that are almost always packaged by accident, since every project has them.
_COMMON_NAMES = frozenset(
    [
        *("test", "tests", "testing", "doc", "docs", "example", "examples", "sample", "samples"),
        *("benchmark", "benchmarks", "script", "scripts", "tool", "tools", "build", "dist", "src", "lib"),
        *("utils", "common", "setup", "conftest", "noxfile", "tasks"),
    ]
)


def debug_information(contents: Contents) -> Iterator[str]:
    """Find native files with debug information."""
    for binary in contents.binaries:
        if binary.debug:
            size = member.size if (member := contents.container.find(binary.path)) else 0
            yield f"{binary.path} contains debug information (size of the file: {show_size(size)})"


def bytecode(contents: Contents) -> Iterator[str]:
    """Find bytecode caches."""
    for path in contents.installed:
        if "__pycache__" in path.split("/"):
            yield f"{path} is bytecode for one version of one interpreter"


def common_names(contents: Contents) -> Iterator[str]:
    """Find top-level modules that would overwrite those of other projects."""
    for name in contents.wheel.import_names:
        if name in _COMMON_NAMES and name != contents.wheel.name.lower():
            yield f"the top-level name {name} is used by many projects"


def standard_library(contents: Contents) -> Iterator[str]:
    """Find top-level modules with the name of a standard library module."""
    for name in contents.wheel.import_names:
        if name in sys.stdlib_module_names:
            yield f"{name} is a module of the standard library"


def path_files(contents: Contents) -> Iterator[str]:
    """Find files that run code, or change the import path, at every start of the interpreter."""
    for path in contents.installed:
        if "/" not in path and path.endswith((".pth", ".start")):
            since = "" if path.endswith(".pth") else " since Python 3.15"
            yield f"{path} is read at every start of the interpreter{since}"


def file_size(contents: Contents) -> Iterator[str]:
    """Find a file that is too large."""
    size = contents.wheel.size
    if size > contents.max_size:
        yield f"the wheel has {size / 1e6:.1f} MB, more than {contents.max_size / 1e6:.1f} MB"


def type_hints(contents: Contents) -> Iterator[str]:
    """Find native modules without stubs."""
    if any(path.endswith((".pyi", "/py.typed")) for path in contents.wheel.files):
        return
    # A top-level native module is usually an internal part of a package (_cffi_backend), and PEP 561 does not cover it.
    modules = [module for module in contents.wheel.extension_modules if "." in module]
    if modules:
        yield f"{first_names(modules)}: the wheel has no stub file (.pyi) and no py.typed"
