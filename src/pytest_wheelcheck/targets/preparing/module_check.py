"""The modules that have no node of their own: all are imported, in one process, and all other files are compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from pytest_wheelcheck.checks.check import first_names
from pytest_wheelcheck.errors import WorkerError, WorkerFatalError
from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.results import UNCHECKED, RemoteError, StepResult
from pytest_wheelcheck.setting_lines import list_line
from pytest_wheelcheck.targets.preparing import known_modules, missing_modules
from pytest_wheelcheck.targets.preparing.compile_check import Errors
from pytest_wheelcheck.targets.preparing.explanations import OPTIONAL, Explanation, Kind
from pytest_wheelcheck.targets.preparing.import_workers import ImportWorkers
from pytest_wheelcheck.targets.preparing.imports import MISSING
from pytest_wheelcheck.targets.preparing.installed_target import InstalledTarget
from pytest_wheelcheck.targets.preparing.module_list import Group, ImportPlan
from pytest_wheelcheck.worker.guard import is_test_name

#: Seconds that one module may take, before scaling. It may be a script that waits for input.
_LIMIT = 60.0

#: How the output of :func:`faulthandler.dump_traceback_later` begins.
_EXPIRED = "Timeout ("

#: Modules that may end the process before no other is imported.
_MAX_DEATHS = 10

#: Packages of modules that each need something else, which the user of one of them has.
_INTEGRATIONS = frozenset({"backends", "contrib", "dialects", "drivers", "ext", "integrations", "plugins"})

#: Letters of the shortest name that is searched inside the name of a module.
_MIN_NAME = 5

#: Modules that a message names.
_MAX_NAMES = 10


@dataclass(slots=True)
class _Results:
    """What the worker reported.

    :param traces: exception chains by module; empty for a module that was imported.
    :param ended: the output of the modules that ended the process.
    :param excused: why that is not the wheel's fault, by module.
    :param errors: files that cannot be compiled; ``None`` if they were not compiled.
    :param stopped: why the check is incomplete; empty if it is complete.
    """

    traces: dict[str, tuple[RemoteError, ...]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    excused: dict[str, str] = field(default_factory=dict)
    errors: Errors = None
    stopped: str = ""


def check_modules(
    installed: InstalledTarget, plan: ImportPlan, steps: Sequence[StepResult], compiled: Future[Errors] | None
) -> Iterator[StepResult]:
    """Import the modules without a node of their own, and compile the files that no import compiled.

    :param steps: of the imports that have one.
    :param compiled: the errors of all files, if the host compiles them.
    """
    failed = {step.name for step in steps if step.outcome is not Outcome.PASSED}
    groups = [group for group in plan.groups if f"import[{group.root}]" not in failed]
    if not groups and not plan.sources:
        return
    results = _run(installed, groups, plan.sources, compiled)
    if explanation := installed.session.explain_failure(results.stopped):
        results.stopped = explanation
    for group in plan.groups:
        name = f"modules[{group.root}]"
        if group not in groups:
            yield StepResult(
                name=name, outcome=Outcome.SKIPPED, text=f"not imported, because import[{group.root}] did not pass"
            )
        else:
            yield _Report(installed, plan, group, results).step(name)
    if plan.sources:
        yield _compile_step(plan, results, steps)


def _run(
    installed: InstalledTarget, groups: Sequence[Group], sources: Sequence[str], compiled: Future[Errors] | None
) -> _Results:
    """Import all modules, and compile all files that no import has compiled, where the host does not do it."""
    results = _Results()
    names = [name for group in groups for name in (group.root, *group.modules)]
    if compiled is None:
        _work(installed, results, names, sources)
        return results
    if names:
        _work(installed, results, names, ())
    results.errors = compiled.result()
    if results.errors is None and not results.stopped:
        _work(installed, results, (), sources)
    return results


def _work(installed: InstalledTarget, results: _Results, names: Sequence[str], sources: Sequence[str]) -> None:
    """Run the worker, and a fresh one after each module that ended it."""
    limit = min(installed.settings.test_timeout or _LIMIT, _LIMIT) * installed.scale
    workers = ImportWorkers(installed, log="modules.log")
    while True:
        position = 0
        try:
            worker = workers.start(
                {
                    "type": "modules",
                    "names": list(names),
                    "sources": list(sources),
                    "sites": [str(path) for path in installed.environment.site_directories],
                    "limit": limit,
                }
            )
            while True:
                message = worker.receive(limit + installed.start_timeout)
                if message is None:
                    raise WorkerError("the import of all modules stopped responding", details=worker.output())
                if message["type"] == "module":
                    position += 1
                    results.traces[message["name"]] = RemoteError.chain(message["error"] or [])  # type: ignore[arg-type]
                    worker.mark_end()
                elif message["type"] == "compiled":
                    results.errors = message["errors"]
                    return
        except WorkerFatalError as error:
            results.stopped = str(error)
            return
        except WorkerError as error:
            explanation = installed.session.explain_failure(str(error))
            if position >= len(names) or len(results.ended) >= _MAX_DEATHS:
                results.stopped = explanation or str(error)
                return
            output = installed.session.program_output(error.details)
            reason = f"it did not end within {limit:g} s" if _EXPIRED in output else error.message
            results.ended[names[position]] = f"{reason}\n{output}".strip()
            if explanation:
                results.excused[names[position]] = explanation
            # Importing a module imports its package first.
            names = [name for name in names[position:] if not f"{name}.".startswith(f"{names[position]}.")]
        finally:
            workers.end()


class _Report:
    """Makes the step of one group."""

    def __init__(self, installed: InstalledTarget, plan: ImportPlan, group: Group, results: _Results) -> None:
        self._plan = plan
        self._group = group
        self._results = results
        self._target = installed.target
        self._sites = installed.environment.site_directories
        self._project = installed.settings.root
        self._strict = installed.settings.import_strict
        self._failures: dict[str, list[str]] = {}
        self._skips: dict[str, list[str]] = {}
        self._warnings: dict[str, list[str]] = {}
        self._missing: dict[str, None] = {}

    def step(self, name: str) -> StepResult:
        """Return the step: failed, passed with warnings and the list of what was skipped, or skipped."""
        step = self._step(name)
        return replace(step, properties=tuple((MISSING, missing) for missing in self._missing))

    def _step(self, name: str) -> StepResult:
        broken: set[str] = set()
        excused: list[str] = []
        imported = 0
        for module in self._group.modules:
            if any(module.startswith(f"{package}.") for package in broken):
                continue
            trace = self._results.traces.get(module)
            if trace == ():
                imported += 1
                continue
            broken.add(module)
            if trace:
                self._classify(module, trace)
            elif module in self._results.excused:
                excused.append(f"{self._results.excused[module]}\nThat was when {module} was imported.")
            elif module in self._results.ended:
                self._add(self._failures if self._strict else self._warnings, self._results.ended[module], module)
        skips = [f"skipped: {_names(modules)}: {text}" for text, modules in self._skips.items()]
        warnings = (_warning(self._warnings),) if self._warnings else ()
        # The import of the root has passed in a process of its own.
        ended = self._results.ended | self._results.excused
        if stopped := self._results.stopped or ended.get(self._group.root) or "\n".join(excused):
            text = "\n".join([f"{UNCHECKED}{stopped.removeprefix(UNCHECKED)}", *skips])
            return StepResult(name=name, outcome=Outcome.ERROR, text=text, warnings=warnings)
        if self._failures:
            problems = [_problem(modules, text) for text, modules in self._failures.items()]
            text = "\n".join([*problems, *skips])
            return StepResult(name=name, outcome=Outcome.FAILED, text=text, warnings=warnings)
        if not imported and not warnings:
            return StepResult(name=name, outcome=Outcome.SKIPPED, text="\n".join(skips))
        text = "\n".join([f"imported {imported} of {len(self._group.modules)} modules", *skips])
        return StepResult(name=name, outcome=Outcome.PASSED, text=text, warnings=warnings)

    def _classify(self, module: str, trace: tuple[RemoteError, ...]) -> None:
        last = trace[-1]
        if any(f'{error["file"]}"' in last.message.replace("\\", "/") for error in self._results.errors or ()):
            self._add(self._skips, "a file that it needs has a syntax error: see the node compile", module)
            return
        found = missing_modules.explain(module, trace, self._target, self._sites, self._project)
        if found.missing:
            self._missing[found.missing] = None
        if found.kind in OPTIONAL:
            self._add(self._skips, found.reason, module)
            return
        place = f" ({found.file}, line {found.line})" if found.file else ""
        lines = [f"{last.type}: {last.message.partition(chr(10))[0]}{place}"]
        certain = found.kind in {Kind.LACKS, Kind.UNDECLARED} and not self._is_deliberate(module, trace, found)
        if not certain and not self._strict:
            self._add(self._warnings, lines[0], module, found.missing)
            return
        if found.cause:
            lines.append(f"Cause: {found.cause}")
        lines.append(f"Fix: {found.fix or 'correct the module'}")
        # One missing distribution is one problem, whatever the number of modules that need it.
        self._add(
            self._failures if certain or self._strict else self._warnings, "\n".join(lines), module, found.missing
        )

    def _is_deliberate(self, module: str, trace: tuple[RemoteError, ...], found: Explanation) -> bool:
        """Return whether a module may need what is missing on purpose."""
        if module in self._plan.loose:
            return True
        if found.kind is not Kind.UNDECLARED:
            return False
        # It raises an error of its own instead.
        if trace[-1].type != "ModuleNotFoundError":
            return True
        # An integration: pkg.backends.something; or tqdm.keras, which needs keras, or pkg.kafka, which needs confluent_kafka.
        parts = module.lower().split(".")[1:]
        top = found.missing.partition(".")[0].lower().strip("_")
        words = [word for word in top.split("_") if len(word) >= _MIN_NAME]
        named = any(
            known_modules.brings(part, top) or part in words or (len(top) >= _MIN_NAME and top in part)
            for part in parts
        )
        return named or not _INTEGRATIONS.isdisjoint(parts)

    def _add(self, texts: dict[str, list[str]], text: str, module: str, missing: str = "") -> None:
        for known, modules in texts.items():
            if missing and f"No module named {missing!r}" in known:
                modules.append(module)
                return
        texts.setdefault(text, []).append(module)


def _names(modules: Sequence[str]) -> str:
    return first_names(modules, _MAX_NAMES)


def _problem(modules: Sequence[str], text: str) -> str:
    ignored = list_line("import_ignore", *modules)
    return f"{_names(modules)} cannot be imported: {text}\nOr, if this is intended, set {ignored}"


def _warning(texts: Mapping[str, Sequence[str]]) -> str:
    problems = [f"    {_names(modules)}: {text}" for text, modules in texts.items()]
    ignored = list_line("import_ignore", *(module for modules in texts.values() for module in modules))
    return "\n".join(
        [
            "these modules cannot be imported (a warning, because importing the wheel's packages does not import them):",
            *problems,
            f"Fix: correct them, leave them out of the wheel, or set {ignored}",
        ]
    )


def _compile_step(plan: ImportPlan, results: _Results, steps: Iterable[StepResult]) -> StepResult:
    if results.errors is None:
        return StepResult(name="compile", outcome=Outcome.ERROR, text=f"could not be checked: {results.stopped}")
    failures: list[str] = []
    warnings: list[str] = []
    # An import with a node of its own shows the file and line.
    shown = "\n".join(step.trace[-1].message for step in steps if step.trace).replace("\\", "/")
    for error in results.errors:
        if f'{error["file"]}"' in shown:
            continue
        text = f"{error['file']}, line {error['line']}: SyntaxError: {error['message']}"
        (failures if _is_module(error["file"], plan) else warnings).append(text)
    if failures:
        lines = [
            *failures,
            "Cause: the syntax is not valid for this version of Python",
            "Fix: correct the syntax, raise Requires-Python, or leave the file out of the wheel",
        ]
        return StepResult(name="compile", outcome=Outcome.FAILED, text="\n".join(lines), warnings=tuple(warnings))
    text = "compiled one file" if len(plan.sources) == 1 else f"compiled {len(plan.sources)} files"
    return StepResult(name="compile", outcome=Outcome.PASSED, text=text, warnings=tuple(warnings))


def _is_module(path: str, plan: ImportPlan) -> bool:
    """Return whether a file is a module that the check imports; others may be test data or templates."""
    parts = path.removesuffix(".py").split("/")
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if name in plan.loose or any(map(is_test_name, parts)):
        return False
    known = {module for group in plan.groups for module in group.modules}
    return name in known or parts[-1] == "__main__"
