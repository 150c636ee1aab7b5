"""What the cases of whole_runs.py share: wheels, projects and interpreters, made or downloaded when a case needs them."""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from builders import build_wheel
from emulated import prepare_bare
from measuring import MeasurementError

from pytest_wheelcheck.backends.catalog import make_catalog
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system.index import files as index
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.plan import plan
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.reader import open_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Without the plugin of hypothesis, which the environment of these benchmarks has and that of a user need not have.
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")

#: The running interpreter, as ``--wheel-python`` names it.
PYTHON = f"--wheel-python={platform.python_version().rpartition('.')[0]}"

#: Tests that do nothing.
MANY = "import pytest, demo\n\n@pytest.mark.parametrize('number', range({}))\ndef test_small(number):\n    pass\n"

#: Tests that import rpds.
RPDS = "import pytest\n\n@pytest.mark.parametrize('number', range({}))\ndef test_small(number):\n    import rpds\n"

#: What a user would write to test a built wheel with tox.
TOX = """
[testenv]
package = wheel
deps = pytest
commands = python -m pytest -q -p no:cacheprovider tests

[testenv:chosen]
package = wheel
base_python = {env:CHOSEN_PYTHON}
deps = pytest
commands = python -m pytest -q -p no:cacheprovider tests
"""

_RPDS_LIST = Path(__file__).with_name("rpds-py.toml")

_MODULE = """
#include <Python.h>
static PyModuleDef_Slot slots[] = {{0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "small", 0, 0, 0, slots};
PyMODINIT_FUNC PyInit_small(void) { return PyModuleDef_Init(&definition); }
"""


@dataclass(frozen=True)
class Materials:
    """Where the cases get what they need.

    :param directory: of this run.
    :param quick: smaller sizes, only to see that everything works.
    """

    directory: Path
    quick: bool = False

    @functools.cached_property
    def demo(self) -> Path:
        """A wheel with one Python module."""
        return build_wheel(self.directory / "demo", "demo", files={"demo/__init__.py": "VALUE = 1\n"})

    @functools.cached_property
    def site(self) -> Path:
        """A directory with the contents of that wheel."""
        shutil.unpack_archive(self.demo, self.directory / "site", "zip")
        return self.directory / "site"

    def project(self, name: str, tests: str) -> Path:
        """Make a project with one test module; with none if *tests* is empty."""
        directory = self.directory / name
        directory.mkdir(parents=True)
        if tests:
            (directory / "tests").mkdir()
            (directory / "tests" / "test_small.py").write_text(tests, encoding="utf-8")
        (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        return directory

    def target(self, wheel: Path, python: str) -> Target:
        """Return the target of a wheel on an interpreter such as ``3.13``."""
        opened = open_wheel(wheel, shown=wheel.name, store=self.directory / "store")
        targets, without = plan([opened], [python], make_catalog())
        if not targets:
            raise MeasurementError(f"no target: {without}")
        return targets[0]

    def bare(self, wheel: Path, python: str, cwd: Path) -> list[str | Path]:
        """Prepare an environment with a wheel; return the argv of its own pytest on ``tests``.

        Bytecode of the environment and of the tests is cached by the first pair.
        """
        settings = Settings(cwd=cwd, root=cwd, wheels=())
        return prepare_bare(self.target(wheel, python), settings, self.directory / f"bare-{wheel.stem}")

    def pinned(self, wheel: pinned.PinnedWheel) -> Path:
        """Download a published wheel."""
        return pinned.download(wheel, pinned.PackageIndex(), self.directory / wheel.distribution)

    @functools.cached_property
    def rpds(self) -> dict[str, Path]:
        """The wheels of rpds-py.toml, by their tags; downloaded into the cache, and verified by digest."""
        digests: dict[str, str] = tomllib.loads(_RPDS_LIST.read_text(encoding="utf-8"))
        settings = InstallSettings()
        listed = [file for file in index.list_files("rpds-py", settings) if digests.get(file.name) == file.sha256]
        if len(listed) != len(digests):
            missing = digests.keys() - {file.name for file in listed}
            raise MeasurementError(f"the index does not have these files with these digests: {sorted(missing)}")
        return {path.name.split("-", 2)[2]: path for path in index.fetch(listed, settings, "rpds-py")}

    def rpds_wheel(self, start: str) -> Path:
        """Return the one wheel of rpds-py whose tags begin in some way."""
        (found,) = [path for tags, path in self.rpds.items() if tags.startswith(start)]
        return found

    def native_package(self, modules: int) -> Path:
        """Make a wheel with a package of native modules, which do nothing, for the running interpreter."""
        build = self.directory / "build"
        build.mkdir(exist_ok=True)
        (build / "small.c").write_text(_MODULE, encoding="ascii")
        _tool("gcc", "-c", "-O1", "-fPIC", f"-I{sysconfig.get_path('include')}", "small.c", "-o", "small.o", cwd=build)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        files: dict[str, bytes | str] = {"natives/__init__.py": ""}
        for number in range(modules):
            # One compilation for all: only the name of the function differs.
            renamed = f"PyInit_small=PyInit_native{number}"
            _tool("objcopy", "--redefine-sym", renamed, "small.o", "renamed.o", cwd=build)
            _tool("gcc", "-shared", "-nostdlib", "renamed.o", "-o", "native.so", cwd=build)
            files[f"natives/native{number}{suffix}"] = (build / "native.so").read_bytes()
        version = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        where = self.directory / f"natives-{modules}"
        return build_wheel(
            where, "natives", tags=[f"{version}-{version}-manylinux_2_17_{platform.machine()}"], files=files
        )


def _tool(*argv: str, cwd: Path) -> None:
    subprocess.run(argv, cwd=cwd, check=True)
