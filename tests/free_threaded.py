"""The free-threaded CPython 3.14 that the project provides, and extension modules for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import provisioned

from pytest_wheelcheck.backends.catalog import make_catalog

#: Of wheels with the modules of :func:`extension`, and of these modules.
TAG = "cp314-cp314t-linux_x86_64"
SUFFIX = ".cpython-314t-x86_64-linux-gnu.so"

#: An extension module without the headers, which published interpreters lack: the parts of Include/object.h and
#: Include/moduleobject.h that it needs.
_SOURCE = """
#include <stdint.h>
typedef struct { uintptr_t tid; uint16_t flags; uint8_t mutex, bits; uint32_t local; intptr_t shared; void *type; }
    Object;
typedef struct { Object base; void *init; intptr_t index; void *copy; const char *name, *doc; intptr_t size;
                 void *methods, *slots, *traverse, *clear, *free; } Definition;
typedef struct { int slot; void *value; } Slot;
void *PyModuleDef_Init(Definition *);
static Slot slots[] = {%s {0, 0}};
static Definition definition = {{0, 0, 0, 0, UINT32_MAX, 0, 0}, 0, 0, 0, "%s", 0, 0, 0, slots, 0, 0, 0};
void *PyInit_%s(void) { return PyModuleDef_Init(&definition); }
"""


def interpreter() -> Path:
    """Return a free-threaded CPython 3.14; without one, the test is skipped, or fails where it is required."""
    python = make_catalog().native_python((3, 14), True)
    if python is None:
        raise provisioned.missing("published", "there is no free-threaded CPython 3.14")
    return python


def extension(directory: Path, name: str, *, keeps_gil_off: bool) -> bytes:
    """Compile an extension module.

    :param keeps_gil_off: it declares that it works without the GIL (``Py_mod_gil``).
    """
    directory.mkdir(exist_ok=True)
    source, library = directory / f"{name}.c", directory / f"{name}.so"
    source.write_text(_SOURCE % ("{4, (void *) 1}," if keeps_gil_off else "", name, name), "ascii")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    return library.read_bytes()
