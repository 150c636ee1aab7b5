"""One target from start to end: environment, import check, executables, test tools, worker. Knows no pytest."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pytest_wheelcheck.backends import sandbox
from pytest_wheelcheck.backends.qemu import machines
from pytest_wheelcheck.backends.wine import diagnosis, held_sessions
from pytest_wheelcheck.errors import InstallError, ProcessError, WheelcheckError, WorkerError, WorkerFatalError
from pytest_wheelcheck.model import Outcome, Runtime, Target
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import process
from pytest_wheelcheck.system.uv_config import InstallSettings
from pytest_wheelcheck.targets import imports, payload
from pytest_wheelcheck.targets.channel import Worker
from pytest_wheelcheck.targets.environment import Environment, create, install, overlay, provide_libraries
from pytest_wheelcheck.worker import messages as protocol
from pytest_wheelcheck.worker.messages import FromWorker

#: Endings of the files that Windows starts.
_PROGRAMS = (".exe", ".com", ".bat", ".cmd")

#: Seconds beyond a test's own time-out after which the controller ends it from outside.
GRACE = 5.0

#: Seconds that a worker may take to start and say hello, before the emulation factor.
BOOT_TIMEOUT = 120.0

#: Boots in a row that may fail before a target is given up.
BOOT_TRIES = 3

#: Variables that would change what the target's interpreter or pytest does, and that were meant for the host's.
_DROPPED = ("PYTHON", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What came of preparing a target. Crosses process borders as JSON, so that several workers can share it.

    :param steps: outcomes of install, imports, entry points, executables.
    :param python: the interpreter to run the tests with; empty where there is nothing to run them with.
    :param scripts: its folder of executables.
    :param root: the root of its environment.
    :param sites: its site-packages folders.
    :param overlays: folders with the test tools.
    :param notes: what the user should know, one line each.
    """

    steps: tuple[StepResult, ...]
    python: str = ""
    scripts: str = ""
    root: str = ""
    sites: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Write it as text."""
        data = {name: getattr(self, name) for name in self.__slots__ if name != "steps"}
        return json.dumps({**data, "steps": [step.to_json() for step in self.steps]})

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """Read what :meth:`to_json` wrote."""
        data = json.loads(text)
        return cls(
            steps=tuple(StepResult.from_json(step) for step in data["steps"]),
            python=data["python"],
            scripts=data["scripts"],
            root=data["root"],
            sites=tuple(data["sites"]),
            overlays=tuple(data["overlays"]),
            notes=tuple(data["notes"]),
        )


def prepare(target: Target, settings: Settings, folder: Path) -> Preparation:
    """Prepare a target: environment, import check, executables, test tools.

    :param folder: an empty folder of the target's own.
    """
    steps: list[StepResult] = []
    if not settings.sandbox:
        held_sessions.begin(target.runtime, folder, sandbox.drives(settings, target.runtime, folder))
    try:
        found = _prepare(target, settings, folder, steps)
    except (OSError, WheelcheckError) as error:
        name = "tools" if steps else "install"
        text = str(error)
        if isinstance(error, OSError):
            text = f"{_reason(error)}\nCause: the folder for temporary files, {folder}"
        text = f"the target cannot be prepared: {text}"
        found = Preparation(steps=(*steps, StepResult(name=name, outcome=Outcome.ERROR, text=text)))
    if not found.python:
        held_sessions.end(folder)
    return found


def _reason(error: OSError) -> str:
    """Say in one line what is wrong; copying a tree collects one reason for each file."""
    found = error.args[0] if isinstance(error, shutil.Error) and error.args else None
    return str(found[-1][-1]) if isinstance(found, list) and found else str(error)


def _prepare(target: Target, settings: Settings, folder: Path, steps: list[StepResult]) -> Preparation:
    installing = InstallSettings(
        offline=settings.offline, find_links=settings.find_links, index=settings.index, extra_index=()
    )
    start = time.monotonic()
    try:
        environment = create(target.runtime, folder / "env")
        installed = install(environment, target.wheel, extras=settings.extras, settings=installing)
        refuse_python(target)
    except WheelcheckError as error:
        outcome = Outcome.FAILED if isinstance(error, InstallError) else Outcome.ERROR
        step = StepResult(name="install", outcome=outcome, seconds=time.monotonic() - start, text=str(error))
        return Preparation(steps=(step,))
    seconds = time.monotonic() - start
    distributions = ", ".join(f"{name} {version}" for name, version in installed.distributions)
    steps.append(
        StepResult(
            name="install",
            outcome=Outcome.PASSED,
            seconds=seconds,
            text=f"installed {distributions}",
            properties=(("interpreter", f"{target.runtime.implementation} {target.runtime.version_text}"),),
        )
    )
    notes: list[str] = []
    # The test tools are laid while the target imports: they are not in its reach before they are named to a worker.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="wheelcheck-tools") as pool:
        laying = pool.submit(
            overlay,
            environment,
            target.runtime,
            target.wheel,
            installed,
            folder / "tools",
            requirements=settings.requires,
            project=settings.root,
            groups=settings.groups,
            settings=installing,
        )
        steps.extend(check_imports(target, environment, settings, folder, notes))
        steps.extend(start_executables(target, environment, settings, folder))
    try:
        tools = laying.result()
    except WheelcheckError as error:
        steps.append(StepResult(name="tools", outcome=Outcome.ERROR, text=str(error)))
        return Preparation(steps=tuple(steps))
    home = tools.environment
    overlays = () if tools.path is None else (str(tools.path),)
    missing = tools.missing if tools.path is None else provide_libraries(home, tools.path, installing)
    if missing := missing or installed.missing:
        notes.append(f"{target.node_id}: {missing}; what needs it will not load")
    if tools.conflict:
        moved = ", ".join(f"{name} {before} -> {after}" for name, before, after in tools.moved) or "nothing"
        notes.append(
            f"{target.node_id}: the test tools do not go with the wheel's dependencies, so the tests run in a second "
            f"environment (moved there: {moved})"
        )
    payload.lay_guard(home, target, settings, overlays, folder)
    payload.lay_worker(folder, target.runtime)
    return Preparation(
        steps=tuple(steps),
        python=str(home.python),
        scripts=str(home.scripts),
        root=str(home.root),
        sites=tuple(map(str, home.site_folders)),
        overlays=overlays,
        notes=tuple(notes),
    )


def refuse_python(target: Target) -> None:
    """Refuse what pip refuses: uv, which installs here, looks at the lower bound of ``Requires-Python`` only.

    :raises InstallError: the wheel is not for the target's version.
    """
    text, version = target.wheel.requires_python, target.runtime.version_text
    if text is None:
        return
    with contextlib.suppress(InvalidSpecifier):  # a check tells of it
        if not SpecifierSet(text).contains(version, prereleases=True):
            raise InstallError(
                f"{target.wheel.shown} is not for Python {version}: Requires-Python is {text}",
                cause="this interpreter was asked for by name, and an upper bound shuts it out",
                fix="choose another with --wheel-python, or widen requires-python in pyproject.toml",
            )


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the host's environment variables without those that steer an interpreter or pytest, with some more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", **extra}


def inside(prepared_scripts: str, prepared_root: str, **extra: str) -> dict[str, str]:
    """Return the variables of a process in a target: its own environment is the active one."""
    path = os.pathsep.join(filter(None, (prepared_scripts, os.environ.get("PATH", ""))))
    return clean_environment({"PATH": path, "VIRTUAL_ENV": prepared_root, **extra})


def _session(target: Target, settings: Settings, folder: Path) -> dict[str, str]:
    """Return the variables of the session that the programs of a target under Wine share.

    In the sandbox, where they share no folder for the server's socket, each has one of its own.
    """
    if settings.sandbox:
        return {}
    return held_sessions.variables(target.runtime, folder, sandbox.drives(settings, target.runtime, folder))


# --- imports and executables -------------------------------------------------------------------------------------------


def check_imports(
    target: Target, environment: Environment, settings: Settings, folder: Path, notes: list[str]
) -> Iterator[StepResult]:
    """Import everything that the wheel offers, each in a process of its own.

    :param notes: takes what the user should know beside the steps.
    """
    jobs = imports.jobs(target.wheel, settings.import_ignore)
    if not jobs:
        return
    place = imports.Place(
        environment=environment.root,
        sites=environment.site_folders,
        runtime_prefixes=tuple(_library_folders(target)),
    )
    scale = settings.timeout_scale if target.runtime.emulated else 1.0
    timeout = settings.test_timeout * scale or 1e9
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    argv = ["-I", "-B", str(payload.lay_worker(folder, target.runtime))]
    enclosed = sandbox.words(settings, target.runtime, folder, cwd=empty, keeper=True)

    def start(several: list[protocol.ImportJob], *, fork: bool) -> Worker:
        worker = Worker(
            [*enclosed, environment.python, *argv],
            env=inside(str(environment.scripts), str(environment.root), **_session(target, settings, folder)),
            cwd=empty,
            log=folder / "import.log",
            drives=sandbox.drives(settings, target.runtime, folder),
            enclosed=bool(enclosed),
        )
        worker.start(
            {
                "type": "imports",
                "jobs": several,
                "fork": fork,
                "names": list(target.wheel.top_levels),
                "sites": [str(path) for path in environment.site_folders],
                "free_threaded": target.runtime.free_threaded,
                "machine": "" if target.machine.name == "host" else target.machine.name,
                "timeout": timeout,
                "watchdog": 0.9 * settings.test_timeout,
            }
        )
        return worker

    ended = []
    try:
        if target.runtime.system == "win32":
            # No fork there: each import has an interpreter that is started for it.
            for job in jobs:
                worker = start([job], fork=False)
                ended.append(worker)
                step = imports.judge(_import_alone(worker, job, timeout), target, place)
                yield _in_words_of_wine(step, worker.said())
            return
        worker = start(jobs, fork=True)
        ended.append(worker)
        for _ in ("hello", *jobs):
            message = worker.receive(timeout + BOOT_TIMEOUT * scale)
            if message is None:
                raise WorkerError("the import check went silent", details=worker.said())
            if message["type"] == "imported":
                yield imports.judge(message, target, place)
    except WorkerError as error:
        yield StepResult(name="import", outcome=Outcome.ERROR, text=str(error))
    finally:
        for worker in ended:
            worker.end()
        if left := "; ".join(filter(None, (worker.left_behind() for worker in ended))):
            notes.append(f"{target.node_id}: importing it started processes that stayed and were ended, {left}")


def _import_alone(worker: Worker, job: protocol.ImportJob, timeout: float) -> Mapping[str, Any]:
    """Let one import have its process, and tell of it as :class:`~pytest_wheelcheck.worker.importer.Importer` does."""
    message: Mapping[str, Any] | None = None
    death = ""
    if worker.receive(BOOT_TIMEOUT) is None:
        raise WorkerError("the import check went silent", details=worker.said())
    try:
        message = worker.receive(timeout)
    except WorkerFatalError:
        raise
    except WorkerError as error:
        death = error.message
    # After its message it has nothing more to do; a module may import, and crash or hang on the way out.
    ending = worker.ending(timeout) if message else death or None
    worker.end()
    seen = {
        "ending": ending,
        "timed_out": ending is None,
        "output": worker.said(),
        "complete": message is not None,
    }
    return {**(message or {}), "name": job["name"], "kind": job["kind"], **seen}


def _in_words_of_wine(step: StepResult, said: str) -> StepResult:
    """Turn the failure of an import for want of something in Wine into «could not be checked»; name a missing library."""
    if step.outcome is not Outcome.FAILED:
        return step
    if blamed := diagnosis.blame(said):
        return replace(step, outcome=Outcome.ERROR, text=blamed, trace=())
    causes = [
        f"Cause: {needing} needs {library}, which is no part of Windows or Python, nor in a folder that is searched"
        for library, needing in diagnosis.missing(said)[:1]
    ]
    advice = ["Fix: bundle it (delvewheel repair), or link it statically; WHL503 lists all of them"]
    return replace(step, text="\n".join([step.text, *causes, *(advice if causes else ())]))


def _library_folders(target: Target) -> Iterator[Path]:
    runtime = target.runtime
    prefix = runtime.python.resolve().parent.parent
    name = "pypy" if runtime.implementation == "pypy" else "python"
    version = f"{runtime.version[0]}.{runtime.version[1]}"
    for lib in ("lib", "lib64"):
        for suffix in ("", "t"):
            yield prefix / lib / f"{name}{version}{suffix}"


def start_executables(
    target: Target, environment: Environment, settings: Settings, folder: Path
) -> Iterator[StepResult]:
    """Start each executable that the wheel carries in its ``.data/scripts``, and those that the settings name."""
    carried = set(target.wheel.scripts)
    named = {
        name
        for name, _ in target.wheel.console_scripts
        for pattern, _ in settings.executables
        if pattern != "*" and fnmatch.fnmatchcase(name, pattern)
    }
    for name in sorted(carried | named):
        arguments = next((words for pattern, words in settings.executables if fnmatch.fnmatchcase(name, pattern)), None)
        if arguments is None:
            continue
        yield _start(name, arguments, target, environment, settings, folder)


def _start(
    name: str, arguments: Sequence[str], target: Target, environment: Environment, settings: Settings, folder: Path
) -> StepResult:
    scale = settings.timeout_scale if target.runtime.emulated else 1.0
    path = next(
        (found for ending in ("", ".exe") if (found := environment.scripts / f"{name}{ending}").exists()),
        environment.scripts / name,
    )
    shown = " ".join((name, *arguments))
    words = _words(path, environment, target.runtime)
    if not words:
        return StepResult(
            name=f"run[{name}]",
            outcome=Outcome.SKIPPED,
            text="Windows starts no such file: it has no ending such as .exe, and is no script of Python",
        )
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    start = time.monotonic()
    try:
        done = process.run(
            [*sandbox.words(settings, target.runtime, folder, cwd=empty, keeper=False), *words, *arguments],
            env=inside(str(environment.scripts), str(environment.root), **_session(target, settings, folder)),
            cwd=empty,
            timeout=settings.entry_timeout * scale or 1e6,
            check=False,
        )
    except ProcessError as error:
        return StepResult(
            name=f"run[{name}]",
            outcome=Outcome.FAILED,
            seconds=time.monotonic() - start,
            text=f"`{shown}` did not start\n{error}",
        )
    sections = tuple(
        (f"Captured {title}", text[-20_000:])
        for title, text in (("stdout", done.stdout), ("stderr", done.stderr))
        if text.strip()
    )
    failed = done.returncode != 0
    text = (
        f"`{shown}` ended with {process.describe_status(done.returncode)}\n"
        f"Fix: if the program does not know these arguments, name others in the ini key wheel_executables, "
        f"such as `{name}: --help`, or `{name}: off`"
        if failed
        else (done.stdout.strip().splitlines() or [""])[0]
    )
    return StepResult(
        name=f"run[{name}]",
        outcome=Outcome.FAILED if failed else Outcome.PASSED,
        seconds=done.seconds,
        text=text,
        sections=sections,
    )


def _words(path: Path, environment: Environment, runtime: Runtime) -> list[Path]:
    """Say how an executable is started; nothing where it is for another system.

    Windows knows no ``#!``: what is no program there, a user has the interpreter start.
    """
    # Under Wine, a launcher stands beside each program.
    program = path.suffix.lower() in _PROGRAMS or path.with_name(f"{path.name}.exe").is_file()
    if runtime.system != "win32" or program or not path.is_file():
        return [path]
    with path.open("rb") as file:
        # Where the interpreter's path is too long for the first line, installers have a shell read it from the second.
        first = b"".join(file.read(1000).splitlines()[:2])
    return [environment.python, path] if first.startswith(b"#!") and b"python" in first.lower() else []


# --- tests -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What the target's pytest collected.

    :param items: as the worker's ``describe_item`` tells them.
    :param reports: collection reports of modules that failed or were skipped, serialised by pytest.
    :param crashes: node id of a module and text, for each whose collection ended the interpreter.
    :param header: lines of the user's ``pytest_report_header``.
    :param messages: warnings and terminal texts that came meanwhile.
    :param usage: a usage error of the target's pytest; empty where there was none.
    :param unknown: options of the host's that the target does not know.
    """

    items: tuple[protocol.Item, ...] = ()
    reports: tuple[Mapping[str, Any], ...] = ()
    crashes: tuple[tuple[str, str], ...] = ()
    header: tuple[str, ...] = ()
    messages: tuple[FromWorker, ...] = ()
    usage: str = ""
    unknown: tuple[str, ...] = ()
    pytest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A test that ended its interpreter, or was ended.

    :param when: the phase that is to blame: ``setup``, ``call`` or ``teardown``.
    """

    when: str
    text: str
    seconds: float
    sections: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """What came of one test.

    :param messages: the worker's ``report``, ``warning`` and ``text`` messages, in order.
    :param crash: set where the test did not come to an end of its own.
    :param stop: why the whole session is to stop; empty where it is not.
    """

    messages: tuple[FromWorker, ...] = ()
    crash: Crash | None = None
    stop: str = ""

    @property
    def failed(self) -> bool:
        """Whether it counts for ``--maxfail``."""
        return self.crash is not None or any(
            message["type"] == "report"
            and message["data"].get("outcome") == "failed"
            and not message["data"].get("wasxfail")
            for message in self.messages
        )


class TargetRun:
    """The tests of one target: a worker, and a fresh one after each that died.

    :param target: where.
    :param prepared: what :func:`prepare` made.
    :param folder: the target's own folder.
    :param token: a word that keeps the files of several such runs in one folder apart.

    Attribute ``left_behind``: number and command lines of processes that its tests left running, one text a worker.
    """

    def __init__(
        self, target: Target, prepared: Preparation, settings: Settings, folder: Path, *, token: str = "0"
    ) -> None:
        self.target = target
        self.prepared = prepared
        self._settings = settings
        self._folder = folder
        self._token = token
        self._worker: Worker | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._boots = 0
        self._failed_boots = 0
        self._no_worker = ""
        self._skipped_modules: list[str] = []
        self.left_behind: list[str] = []
        self._timeouts: dict[str, tuple[float, bool]] = {}
        self._scale = settings.timeout_scale if target.runtime.emulated else 1.0

    # -- collection ---------------------------------------------------------------------------------------------------

    def collect(self) -> Collected:
        """Start the worker and collect. A module that ends the interpreter is told, and the rest is collected."""
        crashes: list[tuple[str, str]] = []
        messages: list[FromWorker] = []
        while True:
            try:
                self._boot()
                found = self._await_collected(messages)
            except _NoWorkerError as error:
                crashes.append(("", str(error)))
                return Collected(crashes=tuple(crashes), messages=tuple(messages))
            except _CollectCrashError as crash:
                self.end()
                blamed = diagnosis.blame(str(crash)) if self.target.runtime.under else ""
                crashes.append((crash.module, f"{blamed}\n{crash}" if blamed else str(crash)))
                if not crash.module or len(crashes) >= BOOT_TRIES:
                    if crash.module:
                        crashes.append(("", f"{len(crashes)} modules ended the interpreter: no other was collected"))
                    return Collected(crashes=tuple(crashes), messages=tuple(messages))
                self._skipped_modules.append(crash.module)
                continue
            if found["type"] == "finished":
                text = self._worker.said() if self._worker else ""
                self.end()
                text = _usage_text(text, found["status"])
                if found["conftest_failed"]:
                    return Collected(crashes=(("", text),), messages=tuple(messages))
                return Collected(usage=text, messages=tuple(messages))
            self._failed_boots = 0
            self._timeouts = {item["id"]: (item["timeout"], item["func_only"]) for item in found["items"]}
            return Collected(
                items=tuple(found["items"]),
                reports=tuple(found["reports"]),
                crashes=tuple(crashes),
                header=tuple(found["header"]),
                messages=tuple(messages),
                unknown=tuple(found["unknown_options"]),
                pytest=found["pytest_version"],
            )

    def _await_collected(self, messages: list[FromWorker]) -> protocol.Collected | protocol.Finished:
        running = self._worker
        assert running is not None  # noqa: S101  _boot() made it
        module = ""
        usual = (self._settings.test_timeout or 1e9) * self._scale
        limit = usual + BOOT_TIMEOUT * self._scale
        try:
            while True:
                message = running.receive(limit)
                if message is None:
                    running.stacks()
                    where = f"collecting {module}" if module else "loading pytest and the conftest files"
                    raise _CollectCrashError(module, f"{where} did not end within {limit:g} s\n{running.said()}")
                if message["type"] == "collecting":
                    module = message["id"]
                    limit = usual if module else usual + BOOT_TIMEOUT * self._scale
                    running.mark(message["log_size"])
                elif message["type"] == "collected" or message["type"] == "finished":
                    return message
                elif message["type"] != "hello":
                    messages.append(message)
        except WorkerError as error:
            where = f"while {module} was collected" if module else "while pytest and the conftest files were loaded"
            raise _CollectCrashError(module, f"{error.message}, {where}\n{_without_first_line(str(error))}") from error

    def _boot(self) -> None:
        if self._closed:
            raise _NoWorkerError("the run was stopped")
        try:
            self._start()
        except (OSError, ProcessError) as error:
            # The disk is full, or code under test removed its interpreter.
            text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise _NoWorkerError("no worker can be started in the target", details=text) from error

    def _start(self) -> None:
        settings, prepared = self._settings, self.prepared
        self._boots += 1
        temporary = self._folder / f"t{self._token}"
        (temporary / "tmp").mkdir(parents=True, exist_ok=True)
        enclosed = sandbox.words(
            settings,
            self.target.runtime,
            self._folder,
            cwd=settings.cwd,
            keeper=True,
            temporary=temporary / "tmp",
        )
        running = Worker(
            [*enclosed, prepared.python, self._folder / payload.WORKER],
            env=inside(
                prepared.scripts,
                prepared.root,
                **{
                    payload.GUARD_VARIABLE: str(self._folder / "guard"),
                    # What one target's tests leave there is not found by another's, and goes with the run.
                    **({} if os.name == "nt" else {"TMPDIR": str(temporary / "tmp")}),
                    **({"PYTEST_PLUGINS": settings.plugins_env} if settings.plugins_env else {}),
                    **_session(self.target, settings, self._folder),
                },
            ),
            cwd=settings.cwd,
            log=self._folder / f"worker{self._token}.log",
            drives=sandbox.drives(settings, self.target.runtime, self._folder),
            enclosed=bool(enclosed),
        )
        with self._lock:
            if not self._closed:
                self._worker = running
        if self._closed:
            # The run was stopped while it was started.
            running.end()
            raise _NoWorkerError("the run was stopped")
        fixed = [
            *settings.fixed_args,
            f"--basetemp={temporary / f'b{self._boots}'}",
            "-o",
            f"cache_dir={temporary / 'cache'}",
        ]
        windows = self.target.runtime.system == "win32"
        running.start(
            {
                "type": "tests",
                "fixed_args": fixed,
                "occurrences": [{"args": list(args), "from_host": host} for args, host in settings.occurrences],
                "overlays": list(prepared.overlays),
                "facts": self.facts(),
                "python_m": settings.python_m,
                "pretend": settings.pretend,
                "pty_patterns": list(settings.pty_patterns),
                "pty_calls": list(settings.pty_calls),
                "ini_names": list(settings.ini_names),
                "markers": list(settings.markers),
                "timeout_scale": self._scale,
                "width": settings.width,
                "junit": settings.junit,
                "skip_modules": self._skipped_modules,
                # There nobody can ask for stacks: see run().
                "watchdog": _before(settings.test_timeout * self._scale) if windows else 0,
                "output": str(self._folder.parent / sandbox.OUTPUT),
            }
        )

    def facts(self) -> protocol.TargetFacts:
        """Return the facts of the target that only the controller knows."""
        wheel, runtime = self.target.wheel, self.target.runtime
        return {
            "wheel": wheel.path.name,
            "name": wheel.name,
            "version": wheel.version,
            "architecture": runtime.architecture,
            "libc": runtime.libc,
            "libc_version": ".".join(map(str, runtime.libc_version)) if runtime.libc else "",
            "machine": self.target.machine.name,
            "emulated": runtime.emulated,
        }

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, node_id: str, following: str | None, left: int) -> ItemResult:
        """Run one test.

        :param node_id: as the target collected it.
        :param following: the test that comes after it in this target, if any.
        :param left: failures until the run stops; 0 for any number.
        """
        failure = self._ready()
        if failure:
            return ItemResult(crash=Crash(when="setup", text=failure, seconds=0.0))
        running = self._worker
        assert running is not None  # noqa: S101  _ready() made it
        own, func_only = self._timeouts.get(node_id, (0.0, False))
        usual = self._settings.test_timeout * self._scale
        # There nobody can ask for stacks, so they are written just before the end; a session of Wine keeps itself.
        windows = self.target.runtime.system == "win32"
        limit = own + GRACE * self._scale if own and not func_only else usual
        start = time.monotonic()
        end = start + limit if limit else None
        running.mark()
        running.send(
            {
                "type": "run",
                "id": node_id,
                "next": following,
                "failures_left": left,
                "watchdog": (_before(limit) if windows else limit + 30.0) if limit else 0,
                "watchdog_exits": not windows,
            }
        )
        messages: list[FromWorker] = []
        expired: protocol.Expired | None = None
        try:
            while True:
                message = running.receive(None if end is None else max(end - time.monotonic(), 0.0))
                if message is None:
                    running.stacks()
                    text = _hang(own, limit)
                    return self._ended(messages, text, running.said(), start)
                if message["type"] == "phase":
                    phase = own + GRACE * self._scale if message["when"] == "call" else usual
                    end = time.monotonic() + phase if phase else None
                elif message["type"] == "expired":
                    expired = message
                elif message["type"] == "done":
                    if message["restart"]:
                        self.end()
                    if self.target.runtime.under:
                        messages = diagnosis.judged(messages, running.said())
                    return ItemResult(messages=tuple(messages), stop=message["stop"])
                elif message["type"] == "finished":
                    return self._ended(messages, "the target's pytest ended in the middle of this test", "", start)
                else:
                    messages.append(message)
        except WorkerError as error:
            text = f"{error.message}\nCause: {error.cause}" if error.cause else error.message
            if expired is not None:
                text = f"Timeout (>{expired['seconds']:g}s) from pytest-timeout, whose thread ended the interpreter"
            return self._ended(messages, text, expired["text"] if expired else error.details, start)

    def _ready(self) -> str:
        """Make sure that there is a worker; return why there cannot be one."""
        if self._worker is not None:
            return ""
        while self._failed_boots < BOOT_TRIES:
            try:
                self._boot()
                found = self._await_collected([])
            except _CollectCrashError as crash:
                self.end()
                self._failed_boots += 1
                self._no_worker = str(crash)
                continue
            except _NoWorkerError as error:
                self._failed_boots += 1
                self._no_worker = str(error)
                continue
            if found["type"] == "collected":
                self._failed_boots = 0
                return ""
            self._no_worker = self._worker.said() if self._worker else ""
            self.end()
            self._failed_boots += 1
        return f"no fresh worker could be started after a crash ({BOOT_TRIES} tries): this test was not run\n{self._no_worker}"

    def _ended(self, messages: list[FromWorker], text: str, said: str, start: float) -> ItemResult:
        self.end()
        phases = [message["data"].get("when") for message in messages if message["type"] == "report"]
        when = "setup" if "setup" not in phases else "call" if "call" not in phases else "teardown"
        sections = (("What the interpreter wrote", said),) if said.strip() else ()
        if self.target.runtime.under and (blamed := diagnosis.blame(said)):
            # An error and no failure: nothing is known to be wrong with the wheel.
            when, text = "setup", blamed
            messages = [message for message in messages if message["type"] != "report"]
        if "SIGILL" in text:
            known = machines.explain(said, self.target.runtime, self.target.machine)
            text = f"{text.partition(chr(10))[0]}\n{known}" if known else text
        crash = Crash(when=when, text=text, seconds=time.monotonic() - start, sections=sections)
        return ItemResult(messages=tuple(messages), crash=crash)

    def finish(self) -> tuple[str, Crash | None]:
        """End the session in the target.

        :returns: what the user's ``pytest_terminal_summary`` hooks wrote, and a crash if the end itself went wrong.
        """
        running = self._worker
        if running is None:
            return "", None
        running.mark()
        running.send({"type": "finish"})
        limit = self._settings.test_timeout * self._scale or None
        try:
            while True:
                message = running.receive(limit)
                if message is None:
                    running.stacks()
                    text = f"the end of the session in the target did not come within {limit:g} s"
                    return "", Crash(when="teardown", text=text, seconds=0.0, sections=(("Stacks", running.said()),))
                if message["type"] == "finished":
                    return message["summary"], None
        except WorkerError as error:
            return "", Crash(when="teardown", text=f"at the end of the session: {error}", seconds=0.0)
        finally:
            self.end()

    def end(self) -> None:
        """End the worker, if there is one, and what its tests left running."""
        with self._lock:
            running, self._worker = self._worker, None
        if running is not None:
            running.end()
            left = running.left_behind()
            if left:
                self.left_behind.append(left)

    def close(self) -> None:
        """End the worker and start no other."""
        with self._lock:
            self._closed = True
        self.end()
        held_sessions.end(self._folder)


class _NoWorkerError(WorkerError):
    pass


class _CollectCrashError(WheelcheckError):
    def __init__(self, module: str, text: str) -> None:
        super().__init__(text)
        self.module = module


def _without_first_line(text: str) -> str:
    return text.partition("\n")[2]


def _usage_text(said: str, status: int) -> str:
    text = said.strip()
    return text or f"the target's pytest ended with exit status {status} and said nothing"


def _before(limit: float) -> float:
    """Say when stacks are to be written that are to be there at the end of a time, both in seconds."""
    return max(limit - 0.5, limit * 0.9)


def _hang(own: float, limit: float) -> str:
    if own:
        return (
            f"Timeout: the test did not end within its own time-out of {own:g} s and was ended from outside\n"
            "Cause: native code loops or waits while it holds the GIL, so no time-out inside the interpreter can act"
        )
    return (
        f"Timeout: the test did not end within {limit:g} s (wheel_test_timeout) and was ended from outside\n"
        "Fix: look at the stacks below; a test that may take longer needs @pytest.mark.timeout(seconds)"
    )


# --- many targets side by side -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Queue:
    """The tests of one target in the order in which they run.

    :param entries: pairs of a key of the caller's and the node id in the target.
    """

    run: TargetRun
    entries: list[tuple[int, str]] = field(default_factory=list)


class SideBySide:
    """Runs the tests of several targets, one in flight in each of a number of targets.

    :param maxfail: failures after which no further test is started; 0 for any number.
    :param on_summary: takes what a target's plugins say at the end; called from other threads.
    """

    def __init__(self, queues: Sequence[Queue], maxfail: int, on_summary: Callable[[TargetRun, str], None]) -> None:
        self._queues = queues
        self._maxfail = maxfail
        self._on_summary = on_summary
        self._results: queue.Queue[tuple[int, ItemResult] | BaseException | None] = queue.Queue()
        self._stop = threading.Event()
        self._abandoned = False
        self._lock = threading.Lock()
        self._failures = 0

    def results(self, lanes: int) -> Generator[tuple[int, ItemResult], None, None]:
        """Run everything.

        :param lanes: targets whose tests run at the same time.
        :returns: results as they come, with the caller's keys; the last of a target carries what its end brought.
        """
        with ThreadPoolExecutor(max_workers=max(1, lanes), thread_name_prefix="wheelcheck-target") as pool:
            try:
                futures = [pool.submit(self._work, one) for one in self._queues]
                yield from self._as_they_come()
            except GeneratorExit:
                # The caller has seen enough (--stepwise), or Ctrl-C came while it told outcomes.
                self._stop.set()
                if not self._abandoned:
                    wait(futures, GRACE)
                raise
            finally:
                self._stop.set()
                for one in self._queues:
                    with contextlib.suppress(OSError):
                        one.run.close()

    def abandon(self) -> None:
        """Do not wait for tests that run when the results are closed."""
        self._abandoned = True

    def _as_they_come(self) -> Iterator[tuple[int, ItemResult]]:
        running = len(self._queues)
        while running:
            # With a timeout, so that Ctrl-C is heard on Windows too.
            try:
                found = self._results.get(timeout=1.0)
            except queue.Empty:
                continue
            if found is None:
                running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found

    def _work(self, one: Queue) -> None:
        """Run the tests of one target; in a thread of its own."""
        try:
            for position, (key, node_id) in enumerate(one.entries):
                if self._stop.is_set():
                    # Fixtures that are set up are torn down, as when an ordinary run stops early.
                    _with_end(one.run, ItemResult(), self._on_summary)
                    break
                following = one.entries[position + 1][1] if position + 1 < len(one.entries) else None
                self._results.put((key, self._run_one(one.run, node_id, following)))
        except BaseException as error:  # noqa: BLE001  crosses to the caller's thread, where it is raised
            if not self._stop.is_set():
                self._results.put(error)
        finally:
            one.run.close()
            self._results.put(None)

    def _run_one(self, run: TargetRun, node_id: str, following: str | None) -> ItemResult:
        left = max(self._maxfail - self._failures, 1) if self._maxfail else 0
        result = run.run(node_id, following, left)
        if following is None or result.stop or (left and result.failed and left == 1):
            result = _with_end(run, result, self._on_summary)
        with self._lock:
            self._failures += result.failed
            if result.stop or (self._maxfail and self._failures >= self._maxfail):
                self._stop.set()
        return result


def _with_end(run: TargetRun, result: ItemResult, on_summary: Callable[[TargetRun, str], None]) -> ItemResult:
    summary, crash = run.finish()
    if summary.strip():
        on_summary(run, summary)
    if crash is None or result.crash is not None:
        return result
    return ItemResult(messages=result.messages, crash=crash, stop=result.stop)
