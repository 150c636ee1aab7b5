"""The contents of a wheel as the checks see them.

:class:`Contents` reads each part of a wheel once, when the first check asks for it.
"""

from __future__ import annotations

import contextlib
import email.message
import email.parser
import email.policy
import functools
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from packaging.metadata import RawMetadata, parse_email

from pytest_wheelcheck.checks.delocation import DelocatedFile
from pytest_wheelcheck.checks.parser_client import (
    analyze_policies,
    analyze_with_delocate,
    can_run_delocate,
    may_be_native,
    read_binaries,
    render_description,
)
from pytest_wheelcheck.checks.policies import PolicyAnalysis, libc_and_architecture
from pytest_wheelcheck.errors import WheelcheckError, WheelError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.wheels.container import Container, Member
from pytest_wheelcheck.wheels.dist_info import MAX_TEXT
from pytest_wheelcheck.wheels.inspection import inspect
from pytest_wheelcheck.wheels.modules import is_tagged, module_name
from pytest_wheelcheck.wheels.reader import installed_files
from pytest_wheelcheck.wheels.record_file import RecordFile, parse_record

if TYPE_CHECKING:
    from pytest_wheelcheck.wheels.binary import Binary

Result = TypeVar("Result")

#: Bytes of a file that the package index accepts by default.
MAX_SIZE = 100 << 20
#: Maximum size of RECORD in bytes. Each installed file needs about 120.
MAX_RECORD = 64 << 20
#: Hash algorithms that RECORD may use (PEP 427: "sha256 or better") and that every Python has.
STRONG_HASHES = frozenset({"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s"})


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberScan:
    """The result of unpacking a member once.

    :param size: number of unpacked bytes.
    :param digests: raw digests by algorithm: ``sha256``, and the algorithms that RECORD names for this file.
    :param damage: why the member cannot be unpacked; empty if it can.
    """

    size: int
    digests: Mapping[str, bytes]
    damage: str = ""


class Contents:
    """A wheel's contents.

    :param path: the file.
    :param wheel: its parsed form; ``None`` for a file that could not be opened as a wheel, of which only the container
        is checked.
    :param release: all wheels of the same invocation, including this one.
    :param max_size: maximum size of the file in bytes, above which a check warns.
    :param use_delocate: whether delocate resolves the dependencies of Mach-O files; ``None`` for hosts that can run it.
    """

    def __init__(
        self,
        path: Path,
        wheel: Wheel | None = None,
        release: Sequence[Wheel] = (),
        *,
        max_size: int = MAX_SIZE,
        use_delocate: bool | None = None,
    ) -> None:
        self.path = path
        self._wheel = wheel
        self.release = tuple(release)
        self.max_size = max_size
        self._use_delocate = use_delocate
        self._parsers_started = False

    @property
    def wheel(self) -> Wheel:
        """The parsed wheel.

        :raises WheelError: the file could not be opened as a wheel.
        """
        if self._wheel is None:
            raise WheelError(f"{self.path.name} could not be opened as a wheel")
        return self._wheel

    @property
    def systems(self) -> frozenset[str]:
        """The systems on which the wheel can be installed, as :func:`systems` returns them.

        A file that could not be opened as a wheel counts for all systems.
        """
        return frozenset({"linux", "macos", "windows"}) if self._wheel is None else systems(self._wheel)

    # The container and RECORD ----------------------------------------------------------------------------------------

    @functools.cached_property
    def container(self) -> Container:
        """The structure of the ZIP container."""
        return inspect(self.path)

    @functools.cached_property
    def installed(self) -> dict[str, Member]:
        """The members by their paths below site-packages."""
        return installed_files(self.container, self.data_directory)

    @functools.cached_property
    def installed_paths(self) -> dict[str, str]:
        """The paths below site-packages by the names of the members."""
        return {member.name: path for path, member in self.installed.items()}

    @functools.cached_property
    def file_names(self) -> frozenset[str]:
        """The names of all files without their directories."""
        return frozenset(member.name.rpartition("/")[2] for member in self.container.files)

    @property
    def data_directory(self) -> str:
        """The only valid name of the wheel's ``.data`` directory."""
        return self.wheel.dist_info.removesuffix(".dist-info") + ".data"

    @property
    def scripts_prefix(self) -> str:
        """The beginning of the member names of all scripts."""
        return f"{self.data_directory}/scripts/"

    @property
    def record_path(self) -> str:
        """The name of RECORD in the container."""
        return f"{self.wheel.dist_info}/RECORD"

    @functools.cached_property
    def record_file(self) -> RecordFile | None:
        """RECORD; ``None`` if it is missing.

        :raises WheelError: it cannot be unpacked, or is too large.
        """
        member = self.container.find(self.record_path)
        return None if member is None else parse_record(self.container.read(member, limit=MAX_RECORD))

    @functools.cached_property
    def scans(self) -> dict[str, MemberScan]:
        """Every file of the container, unpacked once: damage, size and digests."""
        algorithms = self._hash_algorithms()
        files = self.container.files
        # Files that the reader of native files does not read come first, since that reader is at work by now.
        scans = {
            member.name: scan_member(self.container, member, algorithms.get(member.name, {"sha256"}))
            for member in files
            if not (self._parsers_started and may_be_native(member))
        }
        digests = self._native_digests()
        for member in files:
            wanted = algorithms.get(member.name, {"sha256"})
            if member.name in digests and wanted == {"sha256"}:
                scans[member.name] = MemberScan(size=member.size, digests={"sha256": digests[member.name]})
            elif member.name not in scans:
                scans[member.name] = scan_member(self.container, member, wanted)
        return {member.name: scans[member.name] for member in files}

    def _hash_algorithms(self) -> dict[str, set[str]]:
        """Return the hash algorithms that RECORD needs, by file."""
        algorithms: dict[str, set[str]] = {}
        with contextlib.suppress(WheelError):  # the check of damaged members reports a RECORD that cannot be read
            for entry in self.record_file.entries if self._wheel and self.record_file else ():
                algorithms.setdefault(entry.path, {"sha256"}).update({entry.algorithm} & STRONG_HASHES)
        return algorithms

    def _native_digests(self) -> Mapping[str, bytes]:
        """Return the digests of the files that the reader of native files has unpacked."""
        if not self._parsers_started:
            return {}
        try:
            return self._binaries.result()[1]
        except WheelcheckError:
            return {}  # the checks that need the binaries report it

    # Metadata --------------------------------------------------------------------------------------------------------

    def text(self, name: str) -> str | None:
        """Read a file of the ``.dist-info`` directory, decoded as UTF-8; ``None`` if it is missing.

        :raises WheelError: it cannot be unpacked, or is too large.
        """
        data = self.data(name)
        return None if data is None else data.decode("utf-8", "replace")

    def data(self, name: str) -> bytes | None:
        """As :meth:`text`, not decoded."""
        member = self.container.find(f"{self.wheel.dist_info}/{name}")
        return None if member is None else self.container.read(member, limit=MAX_TEXT)

    @functools.cached_property
    def wheel_file(self) -> email.message.Message | None:
        """The headers of WHEEL; ``None`` if it is missing. packaging has no parser for this file."""
        text = self.text("WHEEL")
        return None if text is None else email.parser.Parser(policy=email.policy.compat32).parsestr(text)

    @functools.cached_property
    def metadata(self) -> tuple[RawMetadata, dict[str, list[str]]]:
        """The fields of METADATA, and those that are repeated or unknown; nothing if it is missing."""
        return parse_email(self.text("METADATA") or "")

    @property
    def has_rst_description(self) -> bool:
        """Whether METADATA has a description that an index renders as reStructuredText, the default."""
        metadata, _ = self.metadata
        content_type = metadata.get("description_content_type", "").partition(";")[0].strip().lower()
        return content_type in {"", "text/x-rst"} and bool(metadata.get("description", "").strip())

    # Answers of the parsers, which run in processes of their own -----------------------------------------------------

    def start_parsers(self) -> None:
        """Start the parsers, so that they are done when a check asks for their answers."""
        self._parsers_started = True
        _ = self._binaries
        if any(libc_and_architecture(platform) for platform in self.wheel.platforms):
            _ = self._policy_analyses
        if "macos" in self.systems:
            _ = self._delocated
        with contextlib.suppress(WheelError):  # the check that reads METADATA reports it
            if self.has_rst_description:
                _ = self._rendering_error

    @property
    def binaries(self) -> tuple[Binary, ...]:
        """All native files, one value for each slice.

        :raises WheelcheckError: the reader died or exceeded its deadline.
        """
        return self._binaries.result()[0]

    def binaries_so_far(self) -> tuple[Binary, ...]:
        """All native files, if a reader was started and could read them; no reader is started for this."""
        if "_binaries" in self.__dict__:
            with contextlib.suppress(WheelcheckError):  # the checks that need the binaries report it
                return self.binaries
        return ()

    @functools.cached_property
    def _binaries(self) -> Future[tuple[tuple[Binary, ...], dict[str, bytes]]]:
        return _start_thread(read_binaries, self.path)

    def readable_binaries(self, file_format: str) -> list[Binary]:
        """Return the native files of one format that could be read.

        :param file_format: ``ELF``, ``Mach-O`` or ``PE``.
        """
        return [binary for binary in self.binaries if binary.format == file_format and not binary.error]

    def module_of(self, binary: Binary) -> str | None:
        """Return the dotted name of the extension module that a native file is; ``None`` if it is not one."""
        module = module_name(self.installed_paths.get(binary.path, ""))
        return module if module in self._modules else None

    def is_plain_library(self, binary: Binary) -> bool:
        """Whether a native file is a plain library although its suffix is that of an extension module."""
        path = self.installed_paths.get(binary.path, "")
        looks_like_module = is_tagged(path) or path.endswith(".pyd")
        return looks_like_module and module_name(path) is not None and self.module_of(binary) is None

    def is_loaded(self, binary: Binary) -> bool:
        """Whether Python loads a native file: as an extension module, or with cffi or ctypes."""
        return self.module_of(binary) is not None or self.is_plain_library(binary)

    @functools.cached_property
    def _modules(self) -> frozenset[str]:
        return frozenset(self.wheel.extension_modules)

    @property
    def policy_analyses(self) -> tuple[PolicyAnalysis, ...]:
        """Auditwheel's analyses of a Linux wheel.

        :raises WheelcheckError: auditwheel raised, died or exceeded its deadline, or is not installed.
        """
        return self._policy_analyses.result()

    @functools.cached_property
    def _policy_analyses(self) -> Future[tuple[PolicyAnalysis, ...]]:
        return _start_thread(analyze_policies, self.path, self.wheel)

    @property
    def delocated(self) -> Mapping[str, DelocatedFile]:
        """Delocate's analysis of Mach-O files, by their names; empty if this host cannot run delocate.

        :raises WheelcheckError: delocate raised, died or exceeded its deadline.
        """
        return self._delocated.result()

    @functools.cached_property
    def _delocated(self) -> Future[Mapping[str, DelocatedFile]]:
        def analyze() -> Mapping[str, DelocatedFile]:
            is_used = can_run_delocate() if self._use_delocate is None else self._use_delocate
            return analyze_with_delocate(self.path) if is_used else {}

        return _start_thread(analyze)

    @property
    def rendering_error(self) -> str:
        """Why an index cannot render the description as reStructuredText; an empty string if it can.

        :raises WheelcheckError: the renderer died or exceeded its deadline, or is not installed.
        """
        return self._rendering_error.result()

    @functools.cached_property
    def _rendering_error(self) -> Future[str]:
        return _start_thread(render_description, self.path)


def _start_thread(function: Callable[..., Result], *arguments: object) -> Future[Result]:
    """Call a function in a new thread. Its exception is raised for every caller that asks for the result."""
    future: Future[Result] = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again by Future.result
            future.set_exception(error)

    # A daemon thread, since an interrupted run does not wait for it. The parser's own deadline ends it. The threads of
    # concurrent.futures are joined at exit.
    threading.Thread(target=call, name="wheelcheck-parser", daemon=True).start()
    return future


def scan_member(container: Container, member: Member, algorithms: Iterable[str]) -> MemberScan:
    """Unpack a member once, in bounded memory.

    :param algorithms: names of hash algorithms.
    """
    digests = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}
    size = 0
    try:
        for chunk in container.chunks(member):
            size += len(chunk)
            for digest in digests.values():
                digest.update(chunk)
    except WheelError as error:
        return MemberScan(size=size, digests={}, damage=error.message)
    return MemberScan(size=size, digests={name: digest.digest() for name, digest in digests.items()})


def systems(wheel: Wheel) -> frozenset[str]:
    """Return the systems that a wheel's tags name, among ``linux``, ``macos``, ``windows`` and ``other``.

    The platform ``any`` stands for the first three.
    """
    return frozenset(system for platform in wheel.platforms for system in _systems_of_platform(platform))


def _systems_of_platform(platform: str) -> Iterator[str]:
    if platform == "any":
        yield from ("linux", "macos", "windows")
    elif platform.startswith(("linux_", "manylinux", "musllinux")):
        yield "linux"
    elif platform.startswith("macosx_"):
        yield "macos"
    elif platform.startswith("win"):
        yield "windows"
    else:
        yield "other"
