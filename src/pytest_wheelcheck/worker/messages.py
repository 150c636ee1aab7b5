"""The messages between controller and worker, and the version of their protocol.

The field ``type`` of a message names one of the classes below. It has exactly the fields of that class; both sides check
this with :mod:`.codec` when they send and when they receive.

The controller sends :class:`Start`, a task, and for :class:`Tests` also :class:`Collect`, :class:`Run`s and :class:`Finish`.

The classes are types for mypy. At run time they only carry the annotations that the checks are made from: the module
``typing`` is not loaded in targets, where every start would pay for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TypedDict
else:
    TypedDict = dict

#: Version of the messages below. Both sides refuse another one.
PROTOCOL = 10

# --- from the controller ---------------------------------------------------------------------------------------------


class Start(TypedDict):
    """The first message."""

    type: Literal["start"]
    protocol: int
    nonce: str


class ImportJob(TypedDict):
    """A module or entry point. ``attribute``: dotted, of an entry point; else empty. ``after``: imported first, or empty."""

    name: str
    kind: Literal["import", "entry"]
    module: str
    attribute: str
    after: str


class Imports(TypedDict):
    """Import each module; send one :class:`Imported` for each, in any order, and :class:`Importing` meanwhile.

    ``fork``: fork a child for each job, from this process, or from the one that has imported the package that the job is
    ``after``; without it this process does all jobs itself. A job is not complete if its package cannot be imported, or if
    the process that was to do it was lost. ``names``: top-level names of the wheel. ``sites``: site-packages directories of its
    environment. ``machine``: an emulated CPU model, or empty. ``timeout``: seconds until a child is killed; ``limit``: of a
    job ``after`` another. ``watchdog``: seconds until this process writes its stacks, or 0; only without ``fork``.
    """

    type: Literal["imports"]
    jobs: list[ImportJob]
    fork: bool
    names: list[str]
    sites: list[str]
    free_threaded: bool
    machine: str
    timeout: float
    limit: float
    watchdog: float


class Modules(TypedDict):
    """Import modules, all in this process, and send one :class:`Module` for each; then compile, and send :class:`Compiled`.

    ``sources``: files to compile that no import has compiled (the host may do that), relative to ``sites``: site-packages.
    ``limit``: seconds until this process writes its stacks and ends, since a module did not end.
    """

    type: Literal["modules"]
    names: list[str]
    sources: list[str]
    sites: list[str]
    limit: float


class Occurrence(TypedDict):
    """One option with its values, or an argument. ``from_host``: it is dropped if only the host's pytest knows it."""

    args: list[str]
    from_host: bool


class TargetFacts(TypedDict):
    """Facts of a target that only the controller knows; see :class:`~.facts.WheelTarget`."""

    wheel: str
    name: str
    version: str
    architecture: str
    libc: str
    libc_version: str
    machine: str
    emulated: bool


class Tests(TypedDict):
    """Load pytest, and no code of the project; then wait for :class:`Collect`.

    ``fixed_args``, ``occurrences``: the command line. ``overlays``: directories with the test tools. ``python_m``: put the
    working directory on ``sys.path``, as ``python -m pytest`` does. ``pretend``: a platform to act as, or empty.
    ``pty_patterns``, ``pty_calls``, ``markers``: the ini keys. ``consoles``: pseudo consoles work. ``ini_names``: keys of the
    host's plugin, to be accepted. ``timeout_scale``: factor for the tests' own timeouts. ``width``: columns of the terminal.
    ``junit``: write a JUnit report. ``skip_modules``: modules not to be collected again. ``watchdog``: seconds until stacks
    are written during collection, or 0. ``output``: directory for long output. ``rewritten``: see :mod:`.rewriting`.
    ``guarded``: the guard is installed in the environment; otherwise the worker starts it.
    """

    type: Literal["tests"]
    fixed_args: list[str]
    occurrences: list[Occurrence]
    overlays: list[str]
    facts: TargetFacts
    python_m: bool
    pretend: str
    pty_patterns: list[str]
    pty_calls: list[str]
    consoles: bool
    ini_names: list[str]
    markers: list[str]
    timeout_scale: float
    width: int
    junit: bool
    skip_modules: list[str]
    watchdog: float
    output: str
    rewritten: str
    guarded: bool


class Collect(TypedDict):
    """Collect, then wait for :class:`Run`."""

    type: Literal["collect"]


class Run(TypedDict):
    """Run one test. The next one may be asked for before this one has ended.

    ``id``: its node id. ``number``: from 1, of the worker. ``next``: that of the test after it. ``failures_left``:
    failures until the run stops, or 0. ``watchdog``: seconds until the process writes its stacks, or 0.
    ``watchdog_exits``: it then ends itself, since the controller may be gone.
    """

    type: Literal["run"]
    id: str
    number: int
    next: str | None
    failures_left: int
    watchdog: float
    watchdog_exits: bool


class Finish(TypedDict):
    """End the session: tear down, send :class:`Finished`, exit."""

    type: Literal["finish"]


# --- from the worker -------------------------------------------------------------------------------------------------


class Hello(TypedDict):
    """The worker has started and understood :class:`Start`."""

    type: Literal["hello"]
    protocol: int


class Frame(TypedDict):
    """One entry of a traceback. ``lines``: source lines up to the one that was running."""

    file: str
    line: int
    function: str
    lines: list[str]


class RaisedError(TypedDict):
    """One exception of a chain. ``missing``: what an :class:`ImportError` could not find.

    ``relation``: ``cause`` or ``context`` of the next one of the chain; empty for the last.
    """

    type: str
    message: str
    missing: str | None
    relation: Literal["", "cause", "context"]
    frames: list[Frame]


class ImportResult(TypedDict):
    """What the process of an import saw itself.

    ``seconds``: of the import, without the module before it. ``file``: of the module. ``error``: exception chain, the
    outermost last. ``gil``: a free-threaded interpreter runs with the GIL afterwards. ``mapped``: files mapped by the import;
    ``before``: those mapped before. ``foreign``: modules of the wheel's names from elsewhere, pairs of name and file.
    ``extensions``: extension modules that were loaded, pairs of name and file.
    """

    seconds: float
    file: str
    error: list[RaisedError] | None
    gil: bool
    mapped: list[str]
    before: list[str]
    foreign: list[list[str]]
    extensions: list[list[str]]


class Imported(ImportResult):
    """One import is done.

    ``after``: of the job. ``complete``: the process lived long enough to send its result; else the fields of that are empty.
    ``status``: of the process, as :attr:`subprocess.Popen.returncode`. ``output``: what it printed.
    """

    type: Literal["imported"]
    name: str
    kind: Literal["import", "entry"]
    after: str
    complete: bool
    status: int
    timed_out: bool
    output: str


class Importing(TypedDict):
    """The imports go on, and no result is ready."""

    type: Literal["importing"]


class Module(TypedDict):
    """One module of :class:`Modules` was imported.

    ``error``: exception chain, the outermost last. ``loaded``: another module had imported it before.
    """

    type: Literal["module"]
    name: str
    error: list[RaisedError] | None
    loaded: bool
    seconds: float


class SyntaxProblem(TypedDict):
    """A file that cannot be compiled. ``line``: 0 where it is not known."""

    file: str
    line: int
    message: str


class Compiled(TypedDict):
    """All modules were imported and all other files compiled."""

    type: Literal["compiled"]
    errors: list[SyntaxProblem]


class Collecting(TypedDict):
    """Collection goes on. ``id``: of the module that is next, or empty. ``log_size``: bytes of the log so far, or -1."""

    type: Literal["collecting"]
    id: str
    log_size: int


class Mark(TypedDict):
    """A marker of a test."""

    name: str
    args: list[Any]
    kwargs: dict[str, Any]


class Item(TypedDict):
    """A collected test.

    ``location``: file, line and name as pytest shows them. ``chain``: pairs of node type and name below the session.
    ``names``: keywords for ``-k``. ``timeout``: its own timeout in seconds, scaled, or 0. ``func_only``: that counts the
    test function only. ``threads``: in which pytest-run-parallel runs it; 0 if that is not known. ``single``: why in one.
    """

    id: str
    location: list[str | int | None]
    chain: list[list[str]]
    names: list[str]
    marks: list[Mark]
    doc: str
    timeout: float
    func_only: bool
    threads: int
    single: str


class Collected(TypedDict):
    """Collection has ended.

    ``reports``: of modules that failed or were skipped. ``header``: lines of the user's ``pytest_report_header``.
    ``unknown_options``: the host's options that the target's pytest does not know. ``deselected``: number of tests.
    ``parallel_threads``: the value of that option. ``gil_module``: enabled the GIL, or empty; ``None`` if the GIL is off.
    """

    type: Literal["collected"]
    items: list[Item]
    reports: list[dict[str, Any]]
    header: list[str]
    unknown_options: list[str]
    deselected: int
    parallel_threads: str
    gil_module: str | None
    pytest_version: str


class Phase(TypedDict):
    """The running test enters a phase. Sent only for tests whose timeout does not count their fixtures."""

    type: Literal["phase"]
    when: Literal["setup", "call", "teardown"]


class Report(TypedDict):
    """A test report, as pytest's own ``pytest_report_to_serializable`` makes it.

    Without the fields that :func:`.report_fields.omit` removes.
    """

    type: Literal["report"]
    data: dict[str, Any]


class RecordedWarning(TypedDict):
    """A warning, as ``pytest_warning_recorded`` gets it."""

    type: Literal["warning"]
    text: str
    category: str
    filename: str
    lineno: int
    when: str
    nodeid: str
    location: list[str | int | None] | None


class Property(TypedDict):
    """A property for the JUnit report: of the test ``id``, or of the whole run where that is empty."""

    type: Literal["property"]
    id: str
    name: str
    value: str


class Text(TypedDict):
    """Text that plugins wrote to the terminal."""

    type: Literal["text"]
    text: str


class Expired(TypedDict):
    """The thread of pytest-timeout ends the process now. ``text``: its message with all stacks."""

    type: Literal["expired"]
    seconds: float
    text: str


class Done(TypedDict):
    """The test has ended and all its reports were sent.

    ``stop``: why the session must stop, or empty; ``returncode``: its exit status. ``restart``: the next test needs a new worker.
    ``log_size``: as in :class:`Collecting`. ``gil_module``: as in :class:`Collected`.
    """

    type: Literal["done"]
    stop: str
    returncode: int | None
    restart: bool
    log_size: int
    gil_module: str | None


class Finished(TypedDict):
    """The end record of a session of tests: without it, the run was not complete.

    ``status``: of pytest. ``summary``: of the user's ``pytest_terminal_summary``. ``conftest_failed``: one could not be loaded.
    """

    type: Literal["finished"]
    status: int
    summary: str
    conftest_failed: bool


class Fatal(TypedDict):
    """The worker cannot go on."""

    type: Literal["fatal"]
    text: str


# fmt: off
if TYPE_CHECKING:
    FromController = Start | Imports | Modules | Tests | Collect | Run | Finish
    FromWorker = (
        Hello | Imported | Importing | Module | Compiled | Collecting | Collected | Phase | Report | RecordedWarning
        | Property | Text | Expired | Done | Finished | Fatal
    )
else:
    FromController = (Start, Imports, Modules, Tests, Collect, Run, Finish)
    FromWorker = (
        Hello, Imported, Importing, Module, Compiled, Collecting, Collected, Phase, Report, RecordedWarning, Property,
        Text, Expired, Done, Finished, Fatal,
    )
