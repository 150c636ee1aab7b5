"""The messages between controller and worker, and the version of their protocol.

The field ``type`` of a message names one of the classes below. It has exactly the fields of that class; both sides check
this with :mod:`.codec` when they send and when they receive.

The controller sends :class:`Start`, a task, and for :class:`Tests` also :class:`Collect`, :class:`Run`s and :class:`Finish`.

The classes are types for mypy. At run time they only carry the annotations that the checks are made from: the module
``typing`` is not loaded in targets, where every start would pay for it.
"""

from __future__ import annotations

from .import_messages import *

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TypedDict
else:
    TypedDict = dict

#: Version of the messages below. Both sides refuse another one.
PROTOCOL = 11

# --- from the controller ---------------------------------------------------------------------------------------------


class Start(TypedDict):
    """The first message."""

    type: Literal["start"]
    protocol: int
    nonce: str


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
    """Collect, then wait for :class:`Run`. ``basetemp``: the directory for ``tmp_path``; each collection has its own."""

    type: Literal["collect"]
    basetemp: str


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


class Ended(TypedDict):
    """The supervisor's message: the worker has ended, and another process goes on in its place; see :mod:`.successor`.

    ``status``: as :attr:`subprocess.Popen.returncode`. ``successor``: the process id of the next worker. It waits
    for :class:`Collect`.
    """

    type: Literal["ended"]
    status: int
    successor: int


class Fatal(TypedDict):
    """The worker cannot go on."""

    type: Literal["fatal"]
    text: str


# fmt: off
if TYPE_CHECKING:
    FromController = Start | Imports | Modules | Tests | Collect | Run | Finish
    FromWorker = (
        Hello | Imported | Importing | Module | Compiled | Collecting | Collected | Phase | Report | RecordedWarning
        | Property | Text | Expired | Done | Finished | Ended | Fatal
    )
else:
    FromController = (Start, Imports, Modules, Tests, Collect, Run, Finish)
    FromWorker = (
        Hello, Imported, Importing, Module, Compiled, Collecting, Collected, Phase, Report, RecordedWarning, Property,
        Text, Expired, Done, Finished, Ended, Fatal,
    )
