"""The plugin with its dependencies in a Windows environment, and all of its tests in there: ``tox run -e windows``.

Tests skip themselves there, with the reason, if they need what Windows does not have.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import configured_uv
from builders import build_wheel

import pytest_wheelcheck
from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.interpreters.base import Offer, Request
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.windows.directories import WindowsDirectory
from pytest_wheelcheck.interpreters.windows.platforms import REQUEST
from pytest_wheelcheck.interpreters.windows.provider import WindowsProvider
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.preparing.install import install_wheel
from pytest_wheelcheck.wheels.reader import open_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

ROOT = Path(__file__).parents[1]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def make_windows_catalog(*, offline: bool = False, named: Sequence[WindowsDirectory] = ()) -> Catalog:
    """Return a catalog with the interpreters of this host and those for Windows only, and all backends."""
    host = HostProvider()
    return Catalog(
        lambda _: (host, WindowsProvider(host, offline=offline, named=named)),
        backends(offline=offline),
    )


def offer_of(catalog: Catalog, request: Request = REQUEST, version: tuple[int, int] = (3, 13)) -> Offer:
    (offer,) = (offer for offer in catalog.ask(request)[0] if offer.version[:2] == version)
    return offer


def windows_python(request: Request = REQUEST, version: tuple[int, int] = (3, 13)) -> Runtime:
    catalog = make_windows_catalog()
    return catalog.get(offer_of(catalog, request, version))


def own_wheel(directory: Path) -> Path:
    """Build a wheel of the plugin from the source tree; the requirements of its tests are an extra."""
    package = Path(pytest_wheelcheck.__file__).parent
    files = {
        f"pytest_wheelcheck/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    about = project["project"]
    tests = []
    for text in project["dependency-groups"]["test"]:
        requirement, _, marker = text.partition(";")
        tests.append(f"{requirement} ; {f'({marker.strip()}) and ' if marker else ''}extra == 'test'")
    return build_wheel(
        directory,
        about["name"],
        pytest_wheelcheck.__version__,
        files=files,
        requires=[*about["dependencies"], *tests],
        extras=["test"],
        entry_points={"console_scripts": about["scripts"], **about["entry-points"]},
    )


def make_environment(directory: Path, version: tuple[int, int] = (3, 13)) -> Run:
    """Make a Windows environment with the plugin; return a function that runs its interpreter.

    :raises WheelcheckError: Wine is not available.
    """
    runtime = windows_python(version=version)
    made = runtime.backend.create_environment(runtime, directory / "env")
    settings = InstallSettings(offline=False, find_links=(), index=None, extra_index=())
    wheel = open_wheel(own_wheel(directory / "dist"), shown="the plugin", store=directory / "store")
    install_wheel(runtime, made, wheel, extras=["test"], settings=settings)

    def run(
        *arguments: str | Path, cwd: Path = ROOT, timeout: float = 600.0, shown: bool = False
    ) -> subprocess.CompletedProcess[str]:
        dropped = ("PYTEST", "COV_", "PYENV_", "CARGO_", "RUSTUP_", "WHEELCHECK_")
        env = {name: value for name, value in configured_uv.environment().items() if not name.startswith(dropped)}
        caches = {
            name: "Z:" + str(directory / name).replace("/", "\\") for name in ("WHEELCHECK_CACHE", "UV_CACHE_DIR")
        }
        return subprocess.run(
            [made.python, *arguments],
            cwd=cwd,
            env={**env, **caches, "TMPDIR": str(directory), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=not shown,
            # Programs for Windows may write in their code page.
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )

    return run


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="windows-") as name:
        directory = Path(name)
        run = make_environment(directory)
        # Any run with the network fills the cache for tests without it.
        build_wheel(directory / "first" / "dist", "first", files={"first.py": ""})
        done = run("-m", "pytest", "-q", "--wheel=dist", cwd=directory / "first")
        if done.returncode:
            print(done.stdout, done.stderr)
            return done.returncode
        workers = os.environ.get("WHEELCHECK_TEST_WORKERS", "2")
        tests = arguments or ["tests"]
        done = run("-m", "pytest", "-p", "no:cacheprovider", "-n", workers, *tests, shown=True, timeout=4 * 3600.0)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
