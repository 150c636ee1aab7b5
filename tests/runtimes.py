"""Runtimes of this host's interpreters, and sessions of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment, Runtime, Session
from pytest_wheelcheck.backends.native import NativeBackend
from pytest_wheelcheck.model import Installation, Machine, Platform
from pytest_wheelcheck.settings import Settings


def make_runtime(python: Path = Path(sys.executable)) -> Runtime:
    code = "import sys, json; print(json.dumps([sys.implementation.name, list(sys.version_info[:3])]))"
    name, version = json.loads(subprocess.check_output([python, "-I", "-c", code]))
    installation = Installation(
        program=python,
        library=python.resolve().parent.parent / "lib",
        root=None,
        implementation=name,
        version=(version[0], version[1], version[2]),
        free_threaded=False,
        platform=Platform(system=sys.platform, architecture="x86_64"),
        libc_version=(0, 0),
        tags=("py3-none-any",),
        provider="host",
        how="an interpreter of this host",
    )
    return Runtime(installation=installation, python=python, backend=NativeBackend())


def create(runtime: Runtime, directory: Path) -> Environment:
    return runtime.backend.create_environment(runtime, directory)


def this_environment() -> Environment:
    """Return the environment of the running interpreter."""
    python = Path(sys.executable)
    site = Path(next(path for path in sys.path if path.endswith("site-packages")))
    return Environment(root=Path(sys.prefix), python=python, site_packages=site, platlib=site, scripts=python.parent)


def host_session(directory: Path) -> Session:
    """Return a session of the running interpreter."""
    runtime = make_runtime()
    return runtime.backend.open_session(
        runtime, Machine(), Settings(cwd=directory, root=directory, wheels=()), directory
    )
