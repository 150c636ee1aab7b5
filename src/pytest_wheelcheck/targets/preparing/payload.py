"""Files of ours inside a target: the worker, and the guard of its environment, with bytecode of the target's version.

Both are loaded at every start of a worker, the guard also at that of every process which a test starts. Compiling them
takes a hundred times as long as loading them, and ten times as long again under an emulator.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from pytest_wheelcheck import worker
from pytest_wheelcheck.backends.base import Environment, PathMapping, Runtime
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.targets.preparing.bytecode import compile_bytecode
from pytest_wheelcheck.targets.preparing.declared import extra_requirements
from pytest_wheelcheck.targets.preparing.imports import ENDED, MISSING, NOT_IMPORTED
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.worker import guard

#: Their names in a target: names that no distribution has.
WORKER = "_wheelcheck_worker"
GUARD = "_wheelcheck_guard"

#: Variable that names the file with the guard's settings.
GUARD_VARIABLE = "WHEELCHECK_GUARD"


def write_worker(directory: Path, runtime: Runtime) -> Path:
    """Copy the worker into *directory*, unless it is there; return the path that its interpreter must run."""
    path = directory / WORKER
    if not path.exists():
        shutil.copytree(_compiled(runtime) / WORKER, path)
    return path


def install_guard(environment: Environment, runtime: Runtime, directory: Path, paths: PathMapping) -> None:
    """Install the guard in an environment, for every process there: a test may clear the variables of its children.

    :param directory: the target's own, with the guard's settings.
    :param paths: how the target names paths.
    """
    site = environment.site_packages
    compiled = _compiled(runtime)
    shutil.copy(compiled / f"{GUARD}.py", site)
    for path in compiled.glob(f"__pycache__/{GUARD}.*"):
        (site / "__pycache__").mkdir(exist_ok=True)
        shutil.copy(path, site / "__pycache__")
    (site / f"{GUARD}.pth").write_text(
        f"import os; os.environ['{GUARD_VARIABLE}'] = {paths.to_target(directory / 'guard')!a}; "
        f"__import__('{GUARD}').install()\n",
        encoding="utf-8",
    )


def write_guard_settings(
    environment: Environment,
    target: Target,
    settings: Settings,
    overlays: Sequence[Path],
    directory: Path,
    paths: PathMapping,
    steps: Sequence[StepResult],
) -> bool:
    """Write the settings of the guard.

    :param directory: the target's own.
    :param paths: how the target names paths.
    :param steps: the results of the imports: what they reported is not reported again.
    :returns: whether the imports reported anything.
    """
    names = [name for name in target.wheel.top_levels if name not in {"test", "tests"}]
    roots = [settings.root, settings.root / "src", settings.root / "python", settings.cwd]
    reported = list(_import_entries(steps))
    entries = [
        *(f"name={name}" for name in names),
        *(f"site={paths.to_target(path)}" for path in environment.site_directories),
        *(f"root={paths.to_target(path)}" for path in dict.fromkeys(roots)),
        *(f"overlay={paths.to_target(path)}" for path in overlays),
        f"dist={canonicalize_name(target.wheel.name)}",
        *(f"optional={canonicalize_name(name)}" for name, _ in extra_requirements(target)),
        *reported,
    ]
    (directory / "guard").write_bytes("\0".join(entries).encode("utf-8", "surrogateescape"))
    return bool(reported)


def _import_entries(steps: Sequence[StepResult]) -> Iterator[str]:
    for step in steps:
        kind, _, name = step.name.removesuffix("]").partition("[")
        for key, value in step.properties:
            if key == MISSING:
                yield f"missing={value}"
            elif key == NOT_IMPORTED and kind == "import":
                yield f"{'ended' if value == ENDED else 'failed'}={name}"


def _compiled(runtime: Runtime) -> Path:
    """Return a cached directory with both, and bytecode that an interpreter accepts without reading times (PEP 552)."""
    package = Path(worker.__file__).parent
    modules = sorted(package.glob("*.py"))
    sources = [path.read_bytes() for path in modules]
    installation = runtime.installation
    version = "".join(map(str, installation.version[:2]))

    def make(side: Path) -> None:
        (side / WORKER).mkdir()
        for path in modules:
            shutil.copy(path, side / WORKER)
        shutil.copy(guard.__file__, side / f"{GUARD}.py")
        compile_bytecode(runtime.backend.bytecode_compiler(runtime), side)

    return cache.provision(f"worker/{installation.implementation}{version}-{cache.digest(*sources)}", make)
