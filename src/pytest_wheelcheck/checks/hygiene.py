"""WHL8xx: what works, but should not be there. Warnings all."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pytest_wheelcheck.checks.base import Contents

#: Top-level names that are almost always a packaging accident, since every project has them.
_STRAYS = frozenset(
    [
        "test",
        "tests",
        "testing",
        "doc",
        "docs",
        "example",
        "examples",
        "sample",
        "samples",
        "benchmark",
        "benchmarks",
        "script",
        "scripts",
        "tool",
        "tools",
        "build",
        "dist",
        "src",
        "lib",
        "utils",
        "common",
        "setup",
        "conftest",
        "noxfile",
        "tasks",
    ]
)


def debug_information(contents: Contents) -> Iterator[str]:
    """Native files with debug information."""
    for binary in contents.binaries:
        if binary.debug:
            size = entry.size if (entry := contents.archive.find(binary.path)) else 0
            yield f"{binary.path} carries debug information ({size / 1e6:.1f} MB in all)"


def byte_code(contents: Contents) -> Iterator[str]:
    """Byte-code caches."""
    for name in contents.installed:
        if "__pycache__" in name.split("/"):
            yield f"{name} is byte-code of one interpreter"


def strays(contents: Contents) -> Iterator[str]:
    """Top-level modules that would meet those of other projects."""
    for name in contents.wheel.import_names:
        if name in _STRAYS and name != contents.wheel.name.lower():
            yield f"the top-level name {name} belongs to no project"


def standard_library(contents: Contents) -> Iterator[str]:
    """Top-level modules with a name of the standard library's."""
    for name in contents.wheel.import_names:
        if name in sys.stdlib_module_names:
            yield f"{name} is a module of the standard library"


def path_files(contents: Contents) -> Iterator[str]:
    """Files that run code, or change the import path, at every start of the interpreter."""
    for name in contents.installed:
        if "/" not in name and name.endswith(".pth"):
            yield f"{name} is read at every start of the interpreter"


def file_size(contents: Contents) -> Iterator[str]:
    """Say whether the file is larger than it should be."""
    size = contents.wheel.size
    if size > contents.max_size:
        yield f"the wheel has {size / 1e6:.1f} MB, more than {contents.max_size / 1e6:.1f} MB"


def type_hints(contents: Contents) -> Iterator[str]:
    """Native modules about which type checkers learn nothing."""
    files = contents.wheel.files
    if any(name.endswith((".pyi", "/py.typed")) for name in files):
        return
    # A native module at top level is a package's inner part as a rule (_cffi_backend), and PEP 561 has no place for it.
    modules = [module for module in contents.wheel.extension_modules if "." in module]
    if modules:
        more = f" and {len(modules) - 5} more" if len(modules) > 5 else ""
        yield f"{', '.join(modules[:5])}{more}: there is no stub (.pyi) and no py.typed in the wheel"
