"""Real extension modules for the tests, compiled by the host's C compiler."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

#: Tag of a wheel for the running interpreter that promises nothing about the system's libraries.
LINUX_TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}-cp{sys.version_info[0]}{sys.version_info[1]}-linux_x86_64"

#: Suffix of the extension modules of the running interpreter.
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))

_MODULE = """
#include <Python.h>
%(head)s
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, 0}, {0}};
static int fill(PyObject *module) { %(body)s return 0; }
static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "%(name)s", 0, 0, methods, slots};
PyMODINIT_FUNC PyInit_%(name)s(void) { return PyModuleDef_Init(&definition); }
"""

needs_compiler = pytest.mark.skipif(sys.platform != "linux" or shutil.which("gcc") is None, reason="needs gcc on Linux")


def extension(folder: Path, name: str, *, head: str = "", body: str = "", flags: tuple[str, ...] = ()) -> bytes:
    """Compile an extension module with the function ``answer``, which returns 42.

    :param name: the last part of its dotted name.
    :param head: C before the functions.
    :param body: C that runs when it is imported.
    :param flags: further words for the compiler.
    """
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").is_file():
        pytest.skip("needs the headers of the interpreter")
    folder.mkdir(parents=True, exist_ok=True)
    source, target = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(_MODULE % {"head": head, "body": body, "name": name}, encoding="ascii")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", f"-I{include}", "-o", target, source, *flags], check=True, timeout=60
    )
    return target.read_bytes()
