"""What a check is, what it looks at, and how its result is judged.

A check is a row of :data:`~pytest_wheelcheck.checks.table.CHECKS`: texts for people, and a function that takes the
:class:`Contents` of a wheel and yields one message for each fault. It raises only when it could not look; that is an
error of the run, never a pass.
"""

from __future__ import annotations

import contextlib
import email.message
import email.parser
import email.policy
import functools
import hashlib
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import packaging.metadata

from pytest_wheelcheck.checks.audit import Audit, platform_parts
from pytest_wheelcheck.checks.child import ImpossibleHereError, may_be_native, read_audit, read_binaries, read_rendering
from pytest_wheelcheck.errors import WheelcheckError, WheelError
from pytest_wheelcheck.model import Finding, Outcome, Severity, Wheel
from pytest_wheelcheck.wheels.archive import Archive, Entry, inspect
from pytest_wheelcheck.wheels.reader import MAX_TEXT, installed_files
from pytest_wheelcheck.wheels.record import Record, parse_record

if TYPE_CHECKING:
    from pytest_wheelcheck.wheels.binary import Binary

Answer = TypeVar("Answer")

#: So many findings of one check are told one by one.
MAX_FINDINGS = 50
#: Bytes of a file that the package index accepts without further arrangement.
MAX_SIZE = 100 << 20
#: Bytes of a RECORD that are read; each installed file needs about 120.
MAX_RECORD = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """What one reading of a member found.

    :param size: unpacked bytes.
    :param digests: by algorithm, raw: ``sha256``, and what RECORD names for this file.
    :param damage: why it cannot be unpacked; empty where it can.
    """

    size: int
    digests: Mapping[str, bytes]
    damage: str = ""


class Contents:
    """A wheel's contents, each part read once, when the first check asks for it.

    :param path: the file to look into.
    :param wheel: its parsed form; ``None`` for a file that could not be opened as a wheel, of which only the container
        is looked at.
    :param release: every wheel of the same invocation, this one included.
    :param max_size: bytes that the file may have without a warning.
    """

    def __init__(
        self, path: Path, wheel: Wheel | None = None, release: Sequence[Wheel] = (), *, max_size: int = MAX_SIZE
    ) -> None:
        self.path = path
        self._wheel = wheel
        self.release = tuple(release)
        self.max_size = max_size
        self._started = False

    @property
    def wheel(self) -> Wheel:
        """The parsed wheel.

        :raises WheelError: the file could not be opened as one.
        """
        if self._wheel is None:
            raise WheelError(f"{self.path.name} could not be opened as a wheel")
        return self._wheel

    @property
    def systems(self) -> frozenset[str]:
        """The systems for which the wheel may be installed, among ``linux``, ``macos``, ``windows`` and ``other``.

        A wheel that could not be opened counts for all of them.
        """
        if self._wheel is None:
            return frozenset({"linux", "macos", "windows"})
        return systems(self._wheel)

    @functools.cached_property
    def archive(self) -> Archive:
        """The structure of the container."""
        return inspect(self.path)

    @functools.cached_property
    def installed(self) -> dict[str, Entry]:
        """The members by the name that they get below site-packages."""
        return installed_files(self.archive, self.data_folder)

    @property
    def data_folder(self) -> str:
        """The name that the wheel's ``.data`` folder must have."""
        return self.wheel.dist_info.removesuffix(".dist-info") + ".data"

    @property
    def record_name(self) -> str:
        """Where RECORD is in the archive."""
        return f"{self.wheel.dist_info}/RECORD"

    @functools.cached_property
    def record(self) -> Record | None:
        """RECORD, or ``None`` where there is none."""
        entry = self.archive.find(self.record_name)
        return None if entry is None else parse_record(self.archive.read(entry, limit=MAX_RECORD))

    @functools.cached_property
    def scanned(self) -> dict[str, Scanned]:
        """Every file of the archive, unpacked once: damage, size and digests."""
        wanted: dict[str, set[str]] = {}
        if self._wheel is not None:
            record = self._record_or_none()
            for line in record.lines if record else ():
                wanted.setdefault(line.path, set()).update({line.algorithm} & STRONG)
        algorithms = {name: {"sha256", *some} for name, some in wanted.items()}
        files = self.archive.files
        # What no reader of native files looks at comes first, since that reader is at work by now.
        done = {
            entry.name: scan(self.archive, entry, algorithms.get(entry.name, {"sha256"}))
            for entry in files
            if not (self._started and may_be_native(entry))
        }
        read = self._digests()
        for entry in files:
            if entry.name in read and algorithms.get(entry.name, {"sha256"}) == {"sha256"}:
                done[entry.name] = Scanned(size=entry.size, digests={"sha256": read[entry.name]})
            elif entry.name not in done:
                done[entry.name] = scan(self.archive, entry, algorithms.get(entry.name, {"sha256"}))
        return {entry.name: done[entry.name] for entry in files}

    def _digests(self) -> Mapping[str, bytes]:
        """Return the digests of the files that the reader of native files has unpacked anyway."""
        if not self._started:
            return {}
        try:
            return self._binaries.result()[1]
        except WheelcheckError:
            return {}  # the checks that need what it reads tell it

    def _record_or_none(self) -> Record | None:
        try:
            return self.record
        except WheelError:
            return None  # the check of damaged members tells it

    def text(self, name: str) -> str | None:
        """Read a file of the dist-info folder, decoded as UTF-8; ``None`` where it is missing.

        :raises WheelError: it cannot be unpacked, or is too large.
        """
        data = self.data(name)
        return None if data is None else data.decode("utf-8", "replace")

    def data(self, name: str) -> bytes | None:
        """As :meth:`text`, not decoded."""
        entry = self.archive.find(f"{self.wheel.dist_info}/{name}")
        return None if entry is None else self.archive.read(entry, limit=MAX_TEXT)

    @functools.cached_property
    def wheel_file(self) -> email.message.Message | None:
        """The headers of WHEEL; ``None`` where it is missing."""
        text = self.text("WHEEL")
        return None if text is None else email.parser.Parser(policy=email.policy.compat32).parsestr(text)

    def start(self) -> None:
        """Begin with what runs in processes of its own, so that it is done when a check asks for it."""
        self._started = True
        _ = self._binaries
        if any(platform_parts(platform) for platform in self.wheel.platforms):
            _ = self._audit
        with contextlib.suppress(WheelError):  # the check that reads it tells it
            if self.restructured:
                _ = self._rendering

    @property
    def binaries(self) -> tuple[Binary, ...]:
        """Every native file, one value for each of its slices, read in a process of its own.

        :raises WheelcheckError: the reader died or outlived its deadline.
        """
        return self._binaries.result()[0]

    @functools.cached_property
    def _binaries(self) -> Future[tuple[tuple[Binary, ...], dict[str, bytes]]]:
        return _begin(read_binaries, self.path)

    @property
    def audit(self) -> Audit:
        """What auditwheel says of a Linux wheel, asked in a process of its own.

        :raises WheelcheckError: auditwheel raised, died or outlived its deadline, or is not installed.
        """
        return self._audit.result()

    @functools.cached_property
    def restructured(self) -> bool:
        """Whether METADATA has a description that an index takes for reStructuredText, which is the default."""
        raw = packaging.metadata.parse_email(self.text("METADATA") or "")[0]
        kind = raw.get("description_content_type", "").partition(";")[0].strip().lower()
        return kind in {"", "text/x-rst"} and bool(raw.get("description", "").strip())

    @property
    def rendering(self) -> str:
        """Say why an index cannot render the description as reStructuredText; an empty string where it can.

        :raises WheelcheckError: the renderer died or outlived its deadline, or is not installed.
        """
        return self._rendering.result()

    @functools.cached_property
    def _rendering(self) -> Future[str]:
        return _begin(read_rendering, self.path)

    @functools.cached_property
    def _audit(self) -> Future[Audit]:
        return _begin(read_audit, self.path, self.wheel)


def _begin(function: Callable[..., Answer], *arguments: object) -> Future[Answer]:
    """Call a function in a thread of its own; what it raises is raised again for everyone who asks."""
    answer: Future[Answer] = Future()

    def work() -> None:
        try:
            answer.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            answer.set_exception(error)

    # A daemon: a run that is stopped does not wait for it. The child's own deadline ends it.
    threading.Thread(target=work, name="wheelcheck-parser", daemon=True).start()
    return answer


#: Digests that RECORD may use (PEP 427: «sha256 or better»), of those that every Python has.
STRONG = frozenset({"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s"})


def scan(archive: Archive, entry: Entry, algorithms: Iterable[str]) -> Scanned:
    """Unpack a member once, in bounded memory."""
    digests = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}
    size = 0
    try:
        for chunk in archive.chunks(entry):
            size += len(chunk)
            for digest in digests.values():
                digest.update(chunk)
    except WheelError as error:
        return Scanned(size=size, digests={}, damage=error.message)
    return Scanned(size=size, digests={name: digest.digest() for name, digest in digests.items()})


def systems(wheel: Wheel) -> frozenset[str]:
    """Tell the systems that a wheel's tags name, as :attr:`Contents.systems` does; ``any`` names three."""
    found: set[str] = set()
    for platform in wheel.platforms:
        if platform == "any":
            found |= {"linux", "macos", "windows"}
        elif platform.startswith(("linux_", "manylinux", "musllinux")):
            found.add("linux")
        elif platform.startswith("macosx_"):
            found.add("macos")
        elif platform.startswith("win"):
            found.add("windows")
        else:
            found.add("other")
    return frozenset(found)


#: Takes the contents of a wheel, yields one message for each fault, and raises where it could not look.
Function = Callable[[Contents], Iterator[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One row of the table of checks.

    :param code: ``WHL`` and three digits, the first of which is the family.
    :param slug: short name for node ids: lower case and dashes.
    :param title: what is judged, a few words.
    :param problem: the defect that the check finds.
    :param reason: why the defect matters to the person who installs the wheel.
    :param fix: how to fix it, with the command if there is one.
    :param source: PEP, specification section or upstream file that makes it a fault.
    :param function: finds the faults.
    :param severity: of its findings.
    :param container: looks at the container only, and so can run on a file that is no wheel.
    :param stops_install: with this fault a wheel must not be installed: installers crash on it, or disagree on it, or
        can be made to write outside.
    :param applies: whether the check has anything to say about a wheel.
    """

    code: str
    slug: str
    title: str
    problem: str
    reason: str
    fix: str
    source: str
    function: Function
    severity: Severity = Severity.ERROR
    container: bool = False
    stops_install: bool = False
    applies: Callable[[Wheel], bool] = lambda _: True

    @property
    def name(self) -> str:
        """``WHL203-wheel-file``, the last part of a node id."""
        return f"{self.code}-{self.slug}"

    def run(self, contents: Contents) -> CheckResult:
        """Run the check; whatever it raises becomes part of the result."""
        messages: list[str] = []
        broken = skipped = ""
        try:
            messages.extend(self.function(contents))
        except ImpossibleHereError as error:
            skipped = str(error)
        except WheelError as error:
            broken = str(error)
        except Exception:  # noqa: BLE001 - a checker that raises is an error outcome of its own, whatever it raises
            broken = traceback.format_exc()
        messages = list(dict.fromkeys(messages))
        if len(messages) > MAX_FINDINGS:
            messages[MAX_FINDINGS:] = [f"and {len(messages) - MAX_FINDINGS} more like these"]
        return CheckResult(
            check=self,
            findings=tuple(
                Finding(code=self.code, severity=self.severity, message=message, reason=self.reason, fix=self.fix)
                for message in messages
            ),
            broken=broken,
            skipped=skipped,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What one check said of one wheel.

    :param findings: every fault that it found.
    :param broken: why it could not look, with the traceback; empty where it could.
    :param skipped: why the check cannot run here: by nature, or for want of an optional dependency; empty where it can.
    """

    check: Check
    findings: tuple[Finding, ...] = ()
    broken: str = ""
    skipped: str = ""

    @property
    def outcome(self) -> Outcome:
        """``ERROR`` where it broke, ``FAILED`` with a finding that is an error, else ``SKIPPED`` or ``PASSED``."""
        if self.broken:
            return Outcome.ERROR
        if any(finding.severity is Severity.ERROR for finding in self.findings):
            return Outcome.FAILED
        return Outcome.SKIPPED if self.skipped else Outcome.PASSED

    @property
    def stops_install(self) -> bool:
        """Whether the wheel must not be installed: such a check failed, or could not look."""
        return self.check.stops_install and self.outcome is not Outcome.PASSED
