"""Prepare one target: environment, import check, executables, test tools. Knows no pytest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment, Session
from pytest_wheelcheck.errors import InstallError, UncheckedInstallError, WheelcheckError
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import StepResult, unexpected
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import timing
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets.planning.refused_python import refuse_python
from pytest_wheelcheck.targets.planning.sandboxing import is_published
from pytest_wheelcheck.targets.preparing import payload
from pytest_wheelcheck.targets.preparing.declared import installed_alone
from pytest_wheelcheck.targets.preparing.executables import run_executables
from pytest_wheelcheck.targets.preparing.import_check import check_imports
from pytest_wheelcheck.targets.preparing.install import InstalledWheel, install_settings, install_wheel
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget
from pytest_wheelcheck.targets.preparing.overlay import Overlay, ToolFiles, Tools, make_overlay, provide_tools
from pytest_wheelcheck.targets.preparing.preparation import Preparation
from pytest_wheelcheck.targets.preparing.rewriting import RESULTS, rewrite_tests
from pytest_wheelcheck.targets.running.ahead import CollectionAhead
from pytest_wheelcheck.targets.target import Target

#: The overlay, in the directory of a target.
_TOOLS = "tools"


def prepare(
    target: Target, settings: Settings, directory: Path, session: Session, ahead: CollectionAhead | None = None
) -> Preparation:
    """Prepare a target: environment, import check, executables, test tools.

    :param directory: an empty directory of the target's own.
    :param session: of the target. It is ended if there are no tests to be run.
    :param ahead: is begun as soon as that is possible.
    """
    steps: list[StepResult] = []
    if settings.sandbox and not session.capabilities.sandbox:
        text = f"--wheel-sandbox: there is no sandbox for {target.name}\nFix: omit the option, or this target"
        return Preparation(steps=(StepResult(name="install", outcome=Outcome.ERROR, text=text),))
    session.begin()
    try:
        # The test tools are installed in another thread: they cannot be imported until a worker gets their path.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="wheelcheck-tools") as pool:
            prepared = _prepare(target, settings, directory, session, steps, ahead, pool)
    except (OSError, WheelcheckError) as error:
        name = "tools" if steps else "install"
        text = str(error)
        if isinstance(error, OSError):
            text = f"{_reason(error)}\nCause: the directory for temporary files, {directory}"
        text = f"the target cannot be prepared: {text}"
        prepared = Preparation(steps=(*steps, StepResult(name=name, outcome=Outcome.ERROR, text=text)))
    except Exception as error:  # noqa: BLE001 — a bug that one target meets; the others are prepared
        prepared = Preparation(steps=(*steps, unexpected("tools" if steps else "install", error)))
    if prepared.environment is None:
        if ahead is not None:
            ahead.drop()
        session.end()
    return prepared


def _reason(error: OSError) -> str:
    """Return the reason in one line; copying a tree collects one for each file."""
    found = error.args[0] if isinstance(error, shutil.Error) and error.args else None
    return str(found[-1][-1]) if isinstance(found, list) and found else str(error)


def _prepare(
    target: Target,
    settings: Settings,
    directory: Path,
    session: Session,
    steps: list[StepResult],
    ahead: CollectionAhead | None,
    pool: ThreadPoolExecutor,
) -> Preparation:
    runtime = target.runtime
    installing = install_settings(settings)
    tools = Tools(
        requirements=(*settings.requires, *(["pytest-cov"] if settings.coverage else [])),
        project=settings.root,
        groups=settings.groups,
        settings=installing,
        named=settings.named,
        newest=bool(settings.resolution),
        # In a sandbox, code under test cannot write to the cache.
        linked=not settings.sandbox,
    )
    start = time.monotonic()
    # Without dependencies it is known what will be installed, and the tools are provided meanwhile.
    alone = installed_alone(target, settings.extras)
    providing = None if alone is None else pool.submit(_provide_tools, tools, target, alone, directory)
    try:
        with timing.step(target.node_id, "environment"):
            environment = runtime.backend.create_environment(runtime, directory / "env")
        with timing.step(target.node_id, "install"):
            # Where code of others runs in the sandbox, none of it is run to build a dependency.
            installed = install_wheel(
                runtime,
                environment,
                target.wheel,
                extras=settings.extras,
                settings=installing,
                build=not (settings.sandbox and is_published(target.wheel)),
                named=settings.named,
                resolution=settings.resolution,
            )
        refuse_python(target, settings.pythons)
    except WheelcheckError as error:
        is_own = isinstance(error, InstallError) and not isinstance(error, UncheckedInstallError)
        outcome = Outcome.FAILED if is_own else Outcome.ERROR
        step = StepResult(name="install", outcome=outcome, seconds=time.monotonic() - start, text=str(error))
        return Preparation(steps=(step,))
    steps.append(_install_step(target, installed, time.monotonic() - start, settings.resolution))
    notes: list[str] = []
    payload.write_worker(directory, runtime)
    ready = InstalledTarget(
        target=target,
        environment=environment,
        settings=settings,
        directory=directory,
        session=session,
        notes=notes,
    )
    installing_tools = pool.submit(_install_tools, ready, installed, tools, providing, ahead)
    with timing.step(target.node_id, "imports"):
        steps.extend(check_imports(ready))
    with timing.step(target.node_id, "executables"):
        steps.extend(run_executables(ready))
    try:
        overlay = installing_tools.result()
    except WheelcheckError as error:
        steps.append(StepResult(name="tools", outcome=Outcome.ERROR, text=str(error)))
        return Preparation(steps=tuple(steps))
    if _write_guard_settings(ready, overlay.environment, overlay.paths, steps) and ahead is not None:
        ahead.drop()
    notes += _overlay_notes(target, overlay, installed, installing)
    payload.install_guard(overlay.environment, runtime, directory, session.paths)
    return Preparation(steps=tuple(steps), environment=overlay.environment, overlays=overlay.paths, notes=tuple(notes))


def _provide_tools(tools: Tools, target: Target, installed: InstalledWheel, directory: Path) -> ToolFiles:
    with timing.step(target.node_id, "tools", joined=True):
        return provide_tools(tools, target.runtime, target.wheel, installed, directory / _TOOLS)


def _install_tools(
    ready: InstalledTarget,
    installed: InstalledWheel,
    tools: Tools,
    providing: Future[ToolFiles] | None,
    ahead: CollectionAhead | None,
) -> Overlay:
    """Install the test tools; then begin to collect, if nothing of that can change what the import check finds."""
    target, directory = ready.target, ready.directory
    path = directory / _TOOLS
    if ahead is not None and ready.session.capabilities.side_by_side and not _runs_code(ready.environment):
        _write_guard_settings(ready, ready.environment, (path,), ())
        ahead.boot(Preparation(steps=(), environment=ready.environment, overlays=(path,)))
    with timing.step(target.node_id, "tools", joined=True):
        provided = None if providing is None else providing.result()
        overlay = make_overlay(
            tools, target.runtime, ready.environment, target.wheel, installed, path, provided=provided
        )
        if overlay.path is not None:
            rewrite_tests(target.runtime, overlay.path, ready.settings, directory / RESULTS)
    if ahead is not None:
        # An emulated environment may get further system libraries after the import check.
        if overlay.path is None or (target.runtime.backend.emulated and overlay.has_native_modules):
            ahead.drop()
        else:
            ahead.begin()
    return overlay


def _runs_code(environment: Environment) -> bool:
    """Return whether files of an environment run code when its interpreter starts. The guard must be there before."""
    return any(
        any(directory.glob(pattern)) for directory in environment.site_directories for pattern in ("*.pth", "*.start")
    )


def _write_guard_settings(
    ready: InstalledTarget, environment: Environment, overlays: Sequence[Path], steps: Sequence[StepResult]
) -> bool:
    return payload.write_guard_settings(
        environment, ready.target, ready.settings, overlays, ready.directory, ready.session.paths, steps
    )


def _install_step(target: Target, installed: InstalledWheel, seconds: float, resolution: str) -> StepResult:
    installation = target.runtime.installation
    distributions = ", ".join(f"{name} {version}" for name, version in installed.distributions)
    return StepResult(
        name="install",
        outcome=Outcome.PASSED,
        seconds=seconds,
        text=f"installed {distributions}{f' (--wheel-resolution {resolution})' if resolution else ''}",
        properties=(("interpreter", f"{installation.implementation} {installation.version_text}"),),
    )


def _overlay_notes(target: Target, overlay: Overlay, installed: InstalledWheel, settings: InstallSettings) -> list[str]:
    notes = []
    runtime = target.runtime
    missing = (
        overlay.missing
        if overlay.path is None or not overlay.has_native_modules
        else runtime.backend.add_libraries(runtime, overlay.environment, overlay.path, settings)
    )
    if missing := missing or installed.missing:
        notes.append(f"{target.node_id}: {missing}; modules that need it will not load")
    if overlay.conflict:
        moved = ", ".join(f"{name} {before} -> {after}" for name, before, after in overlay.moved) or "nothing"
        notes.append(
            f"{target.node_id}: the test tools conflict with the wheel's dependencies, so the tests run in a second "
            f"environment (versions that differ there: {moved})"
        )
    return notes
