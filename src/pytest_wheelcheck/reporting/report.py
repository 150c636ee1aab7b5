"""The report of a run as frozen values: the wheels, their targets, and the outcome of every node; written as JSON.

Nothing here reads a disk or calls pytest. Every other form of a report is computed from these values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import ContentsEntry
from pytest_wheelcheck.reporting.changes import WheelChanges
from pytest_wheelcheck.reporting.fields import OneOf, read
from pytest_wheelcheck.system.timing import STEPS

#: The name of the file format and its version. A change that older readers would misunderstand increments the version.
#: 2: fields renamed (``files`` to ``wheels``, ``places`` to ``targets``, ``nodes`` to ``results``, and others).
#: 3: readers ignore fields that they do not know, so later fields need no new version.
FORMAT, FORMAT_VERSION = "pytest-wheelcheck", 3
#: The oldest version that is read. Its fields are a part of today's.
OLDEST_VERSION = 2

#: Outcomes of nodes, the worst first, as pytest names them; ``error`` is a failure outside the test itself.
OUTCOMES = ("failed", "error", "xpassed", "passed", "xfailed", "skipped")
#: Outcomes that fail a run.
BAD = frozenset({"failed", "error"})

#: The reasons that the targets' rules for pseudo-terminals give.
_PTY = re.compile(r"needs (?:a pseudo-terminal|the module '(?:pty|tty|termios|fcntl|resource)'), which ")
_STEP = re.compile(r"(?:install|import|compile|tools|threads)$|(?:import|modules|entry|run)\[")


def is_test(name: str) -> bool:
    """Return whether a node is a test of the user's, by the part of its id behind the target."""
    return _STEP.match(name) is None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeResult:
    """The result of one node.

    :param name: the part of the node id behind the wheel or the target.
    :param outcome: as pytest names it; ``error`` is a failure outside the test itself.
    :param text: why it failed or was skipped.
    :param seconds: duration of all phases.
    :param warnings: what is wrong, but does not fail the node.
    """

    name: str
    outcome: Annotated[str, OneOf(OUTCOMES)]
    text: str = ""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def is_test(self) -> bool:
        """Whether it is a test of the user's, not a step of this plugin."""
        return is_test(self.name)

    @property
    def skipped_for_pty(self) -> bool:
        """Whether it was skipped because the target has no pseudo-terminal."""
        return self.outcome == "skipped" and _PTY.search(self.text) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """When a step of a run began and ended, in seconds since the run began.

    :param name: of the step. ``interpreter``: it is found, downloaded and made; targets of one interpreter have the same times.
        ``tools``: the test tools are installed. ``boot``: an interpreter starts, and loads pytest and conftest files. ``end``:
        the session of the tests ends.
    :param start: when it began.
    :param end: when it ended.
    """

    name: Annotated[str, OneOf(STEPS)]
    start: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetReport:
    """The results on one target.

    :param name: as in node ids, such as ``cp311-linux-aarch64+rpi5``.
    :param interpreter: ``cp312``, ``cp314t``, ``pp311``.
    :param platform: ``linux-x86_64``, ``musllinux-aarch64``, ``macosx-arm64``, ``win_amd64``.
    :param system: the value of ``sys.platform``.
    :param libc: ``glibc`` or ``musl``; empty where the system has only one C library.
    :param architecture: of the processor, as in the platform.
    :param execution: how programs run there.
    :param machine: the emulated machine (``aarch64``, ``rpi5``) or the name of the board; empty for this host.
    :param source: where the interpreter comes from, one line.
    :param assembled: the interpreter was put together from files of different builds, so it is not what a user has.
    :param board: facts about the board, in words, by their names; empty for other targets.
    :param host: the host of the run, where reports of several hosts are merged.
    :param overrides: the lines of ``wheel_overrides`` that applied.
    :param threads: how many tests ran in several threads, in words; empty if that was not asked for.
    :param lacks: what programs cannot do there, such as ``fork`` or ``pty``.
    :param artifacts: paths of the files that were collected from it (``--wheel-artifacts``), relative to the working directory.
    :param results: of the steps (installation, imports, executables) and of the tests, in the order in which they ended.
    :param timings: of the steps, by their start. Steps can overlap. One that was repeated is there several times.
    """

    name: str
    interpreter: str
    platform: str
    system: str
    libc: str = ""
    architecture: str = ""
    execution: Annotated[str, OneOf(("native", "emulated", "board"))] = "native"
    machine: str = ""
    source: str = ""
    assembled: bool = False
    board: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    overrides: tuple[str, ...] = ()
    threads: str = ""
    lacks: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    results: tuple[NodeResult, ...] = ()
    timings: tuple[Timing, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class NotRun:
    """An interpreter on which a wheel was not run, or no interpreter at all.

    :param name: of the node: the interpreter, or ``no-target``.
    :param outcome: ``skipped`` if the host cannot run it by nature, else ``error`` or ``failed``.
    :param reason: why, for the user.
    :param host: the host of the run, where reports of several hosts are merged.
    """

    name: str
    outcome: Annotated[str, OneOf(OUTCOMES)]
    reason: str
    host: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelReport:
    """A wheel, or a file that was given as one.

    :param path: its path as in node ids.
    :param filename: its name.
    :param sha256: hexadecimal digest; empty if the file could not be read.
    :param size: in bytes.
    :param project: name of the project as in the file name; empty if the file name cannot be parsed.
    :param version: as in the file name.
    :param tags: the compatibility tags, expanded.
    :param requires_python: ``Requires-Python`` of its metadata.
    :param classifiers: of its metadata.
    :param checks: results of the static checks.
    :param targets: where it was installed and tested.
    :param not_run: where it was not.
    :param timings: of the static checks.
    :param contents: the largest files, then the others of each kind; empty if the file could not be read.
    :param changes: since the previous release; null if the wheel was not compared, or has no counterpart there.
    """

    path: str
    filename: str
    sha256: str = ""
    size: int = 0
    project: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()
    requires_python: str | None = None
    classifiers: tuple[str, ...] = ()
    checks: tuple[NodeResult, ...] = ()
    targets: tuple[TargetReport, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    timings: tuple[Timing, ...] = field(default=(), compare=False)
    contents: tuple[ContentsEntry, ...] = ()
    changes: WheelChanges | None = None

    @property
    def failures(self) -> int:
        """The number of failed checks, results on targets, and missing targets."""
        outcomes = [result.outcome for result in self.checks]
        outcomes += [result.outcome for target in self.targets for result in target.results]
        outcomes += [entry.outcome for entry in self.not_run]
        return sum(outcome in BAD for outcome in outcomes)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """A run that tested only a part of the targets (``--wheel-shard``).

    :param shard: the part, such as ``2/5``.
    :param host: the host of the run, where reports of several hosts are merged.
    :param files: all wheels of the run, also those that other shards test: the name, and the digest if it could be read.
    :param elsewhere: the targets that other shards test, as this host planned them: the name of the wheel, ``::``, and the name
        of the target.
    """

    shard: str
    host: str = ""
    files: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousReport:
    """The previous release of a project on the package index (``--wheel-expect previous``).

    :param release: as ``--wheel`` names it.
    :param project: normalized name of the project.
    :param wheels: the file names of its wheels.
    """

    release: str
    project: str
    wheels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The report of one run, or of several runs that were merged.

    :param wheels: the wheels, and files that were given as such.
    :param other_files: names of other files of the release, such as its sdist.
    :param release: results of the checks of the release as a whole.
    :param expect: the clauses of ``--wheel-expect``.
    :param complete: whether every run ended normally.
    :param program: name and version of the program that wrote it.
    :param started: when the run began, in UTC (ISO 8601).
    :param command: the command line, without passwords.
    :param options: of the command line, those that a repetition of a node needs.
    :param commit: the project's commit, with ``+`` behind it if files differ from it; empty without git.
    :param timings: of the steps of the whole run; empty if several reports were merged.
    :param resolution: how the versions of the wheels' dependencies were chosen; empty for uv's own setting.
    :param shards: the shards of a run that are in the report; empty for a run that was not divided.
    :param previous: the releases that the wheels were compared with.
    """

    wheels: tuple[WheelReport, ...] = ()
    other_files: tuple[str, ...] = ()
    release: tuple[NodeResult, ...] = ()
    expect: tuple[str, ...] = ()
    complete: bool = True
    program: str = field(default="", compare=False)
    started: str = field(default="", compare=False)
    command: str = field(default="", compare=False)
    options: tuple[str, ...] = field(default=(), compare=False)
    commit: str = field(default="", compare=False)
    timings: tuple[Timing, ...] = field(default=(), compare=False)
    resolution: str = field(default="", compare=False)
    shards: tuple[ShardReport, ...] = ()
    previous: tuple[PreviousReport, ...] = ()

    @property
    def failures(self) -> int:
        """The number of failures of all wheels and of the release."""
        return sum(wheel.failures for wheel in self.wheels) + sum(result.outcome in BAD for result in self.release)


def to_json(report: Report, *, comparisons: Iterable[Any] = ()) -> str:
    """Serialize a report.

    :param comparisons: of its machines (:mod:`pytest_wheelcheck.reporting.compare`), for other programs: they are computed from
        the rest, and :func:`from_json` ignores them.
    """
    data = {**asdict(report), "comparisons": list(map(asdict, comparisons))}
    return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **data}, indent=1) + "\n"


def from_json(text: str, *, source: str) -> Report:
    """Read the output of :func:`to_json`.

    :param source: the file's name, for errors.
    :raises UsageError: it is no report of this program, or one of another format version.
    """
    try:
        data = json.loads(text)
        version = data["format_version"] if data["format"] == FORMAT else None
    except (ValueError, TypeError, KeyError):
        version = None
    if not isinstance(version, int):
        raise UsageError(
            f"{source} is not a report of pytest-wheelcheck", fix="pass files that --wheel-report NAME.json wrote"
        )
    if not OLDEST_VERSION <= version <= FORMAT_VERSION:
        known = f"{OLDEST_VERSION} to {FORMAT_VERSION}"
        raise UsageError(
            f"{source} has format version {version}; this version of pytest-wheelcheck reads versions {known}",
            fix="upgrade pytest-wheelcheck here"
            if version > FORMAT_VERSION
            else "write the report again with this version of pytest-wheelcheck",
        )
    try:
        return read(Report, data)
    except (TypeError, KeyError) as error:
        raise UsageError(f"{source} is damaged: {type(error).__name__}: {error}") from None


def worst(outcomes: Iterable[str]) -> str:
    """Return the worst of some outcomes; an empty string for none."""
    return min(outcomes, key=OUTCOMES.index, default="")
