"""The plugin with its dependencies in a Windows environment, and all of its tests in there: ``tox run -e windows``.

Tests that need what Windows has not skip themselves there, with the reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from builders import build_wheel

import pytest_wheelcheck
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.windows import published
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets import environment
from pytest_wheelcheck.wheels.reader import open_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest depends on it there
    import tomli as tomllib

ROOT = Path(__file__).parents[1]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def own_wheel(folder: Path) -> Path:
    """The plugin in a wheel, as it stands in the source tree; its tests' needs are an extra."""
    package = Path(pytest_wheelcheck.__file__).parent
    files = {
        f"pytest_wheelcheck/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    about = project["project"]
    tests = [f"{requirement} ; extra == 'test'" for requirement in project["dependency-groups"]["test"]]
    return build_wheel(
        folder,
        about["name"],
        pytest_wheelcheck.__version__,
        files=files,
        requires=[*about["dependencies"], *tests],
        extras=["test"],
        entry_points={"console_scripts": about["scripts"], **about["entry-points"]},
    )


def lay(folder: Path, version: tuple[int, int] = (3, 13)) -> Run:
    """Make a Windows environment with the plugin in it; give what runs an interpreter's command line there.

    :raises WheelcheckError: there is no Wine here, and it cannot be had.
    """
    provider = published.WineProvider(HostProvider())
    (offer,) = (offer for offer in provider.offers(published.REQUEST).offers if offer.version[:2] == version)
    made = environment.create(provider.get(offer), folder / "env")
    settings = InstallSettings(offline=False, find_links=(), index=None, extra_index=())
    wheel = open_wheel(own_wheel(folder / "dist"), shown="the plugin", store=folder / "store")
    environment.install(made, wheel, extras=["test"], settings=settings)

    def run(
        *words: str | Path, cwd: Path = ROOT, timeout: float = 600.0, shown: bool = False
    ) -> subprocess.CompletedProcess[str]:
        left_out = ("PYTEST", "COV_", "PYENV_", "CARGO_", "RUSTUP_", "WHEELCHECK_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        caches = {name: "Z:" + str(folder / name).replace("/", "\\") for name in ("WHEELCHECK_CACHE", "UV_CACHE_DIR")}
        return subprocess.run(
            [made.python, *words],
            cwd=cwd,
            env={**env, **caches, "TMPDIR": str(folder), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=not shown,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


def main(words: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="windows-") as folder:
        run = lay(Path(folder))
        # What tests without the network need is in the cache after any run with it.
        build_wheel(Path(folder) / "first" / "dist", "first", files={"first.py": ""})
        done = run("-m", "pytest", "-q", "--wheel=dist", cwd=Path(folder) / "first")
        if done.returncode:
            print(done.stdout, done.stderr)
            return done.returncode
        workers = os.environ.get("WHEELCHECK_TEST_WORKERS", "2")
        given = words or ["tests"]
        done = run("-m", "pytest", "-p", "no:cacheprovider", "-n", workers, *given, shown=True, timeout=4 * 3600.0)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
