"""What is laid into a target: the worker, and the guard of its environment, with byte-code of the target's own version.

Both are loaded at every start of a worker, the guard also at that of every process which a test starts. To compile them
takes a hundred times as long as to load them, and ten times as long again under an emulator.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from pytest_wheelcheck import worker
from pytest_wheelcheck.backends import sandbox
from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.model import Runtime, Target
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.targets.environment import Environment, compiler_for
from pytest_wheelcheck.worker import guard

#: Their names in a target: such as no distribution has.
WORKER = "_wheelcheck_worker"
GUARD = "_wheelcheck_guard"

#: Variable that names the file with the guard's settings.
GUARD_VARIABLE = "WHEELCHECK_GUARD"


def lay_worker(folder: Path, runtime: Runtime) -> Path:
    """Lay the worker into *folder*, unless it is there; return what its interpreter is to be told to run."""
    place = folder / WORKER
    if not place.exists():
        shutil.copytree(_compiled(runtime) / WORKER, place)
    return place


def lay_guard(
    environment: Environment, target: Target, settings: Settings, overlays: Sequence[str], folder: Path
) -> None:
    """Put the guard into an environment, for every process there: a test may clear the variables of its children.

    :param folder: the target's own, for the guard's settings.
    """
    drives = sandbox.drives(settings, target.runtime, folder)
    told = drives.to_windows if drives else str
    site = environment.site_packages
    compiled = _compiled(target.runtime)
    shutil.copy(compiled / f"{GUARD}.py", site)
    for path in compiled.glob(f"__pycache__/{GUARD}.*"):
        (site / "__pycache__").mkdir(exist_ok=True)
        shutil.copy(path, site / "__pycache__")
    (site / f"{GUARD}.pth").write_text(
        f"import os; os.environ['{GUARD_VARIABLE}'] = {told(folder / 'guard')!a}; __import__('{GUARD}').install()\n",
        encoding="utf-8",
    )
    names = [name for name in target.wheel.top_levels if name not in {"test", "tests"}]
    roots = [settings.root, settings.root / "src", settings.root / "python", settings.cwd]
    entries = [
        *(f"name={name}" for name in names),
        *(f"site={told(path)}" for path in environment.site_folders),
        *(f"root={told(path)}" for path in dict.fromkeys(roots)),
        *(f"overlay={told(path)}" for path in overlays),
        f"dist={canonicalize_name(target.wheel.name)}",
    ]
    (folder / "guard").write_bytes("\0".join(entries).encode("utf-8", "surrogateescape"))


def _compiled(runtime: Runtime) -> Path:
    """Give a folder with both of them, and byte-code that an interpreter takes without looking at any time (PEP 552)."""
    package = Path(worker.__file__).parent
    modules = sorted(path for path in package.glob("*.py") if path.name != "guard.py")
    sources = [path.read_bytes() for path in (*modules, Path(guard.__file__))]
    version = "".join(map(str, runtime.version[:2]))

    def make(side: Path) -> None:
        (side / WORKER).mkdir()
        for path in modules:
            shutil.copy(path, side / WORKER)
        shutil.copy(guard.__file__, side / f"{GUARD}.py")
        if compiler := compiler_for(runtime):
            # Without byte-code all is the same, but slower.
            with contextlib.suppress(ProcessError):
                process.run([compiler, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", side])

    return cache.provision(f"worker/{runtime.implementation}{version}-{cache.digest(*sources)}", make)
