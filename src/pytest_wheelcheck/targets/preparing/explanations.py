"""Why an import failed, as a value."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.results import UNCHECKED, Frame

#: The fix for a module that the wheel lacks, in the terms of no backend.
ANY_BACKEND = "include it in the packages of the build backend, or correct the import"


class Kind(enum.Enum):
    """Why an import failed."""

    #: A part of the standard library that other builds of this interpreter have.
    BUILD = "build"
    #: A module of another system.
    SYSTEM = "system"
    #: What an extra of the wheel installs.
    EXTRA = "extra"
    #: A tool for tests, needed by a module for tests.
    TEST_TOOL = "test tool"
    #: A module in a directory of the wheel that its own code puts on ``sys.path``.
    OWN_PATH = "own path"
    #: The wheel contains only a part of a package. Another distribution has the rest.
    PART = "part"
    #: The module itself refuses to be imported before another one.
    REFUSED = "refused"
    #: A module of the wheel's own packages.
    LACKS = "lacks"
    #: The standard library of other versions has it.
    VERSION = "version"
    #: A dependency needs it.
    DEPENDENCY = "dependency"
    #: A native library, of the wheel itself.
    LIBRARY = "library"
    #: A native library, of a dependency.
    DEPENDENCY_LIBRARY = "library of a dependency"
    #: No dependency was declared.
    UNDECLARED = "undeclared"
    #: Not a missing module.
    OTHER = "other"


#: Kinds that are never the fault of the wheel.
NO_FAULT = frozenset({Kind.BUILD, Kind.PART, Kind.REFUSED})

#: Kinds that are no fault in a module that the wheel's main packages do not need.
OPTIONAL = frozenset({*NO_FAULT, Kind.SYSTEM, Kind.EXTRA, Kind.TEST_TOOL, Kind.OWN_PATH})


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why an import failed.

    :param reason: one line that follows "skipped: " or "could not be checked: "; empty for kinds that have neither.
    :param cause: one line; empty if nothing is known.
    :param fix: one line; empty if nothing is known.
    :param file: the importing file, relative to site-packages; absolute if it is elsewhere; empty if it is not known.
    :param line: the importing line, from 1.
    :param missing: the module that was not found.
    :param module: the module that was to be imported.
    """

    kind: Kind
    reason: str = ""
    cause: str = ""
    fix: str = ""
    file: str = ""
    line: int = 0
    missing: str = ""
    module: str = ""

    @property
    def unchecked(self) -> str:
        """The text of an error: a dependency is broken, so nothing is known about the wheel. Empty for other kinds."""
        if self.kind is not Kind.DEPENDENCY_LIBRARY:
            return ""
        return f"{UNCHECKED}{self.reason}\nCause: {self.cause}\nFix: {self.fix}"


def place(frame: Frame, sites: tuple[Path, ...]) -> str:
    """Return the file of a frame, relative to site-packages if it is there."""
    return relative(frame.file, sites)


def relative(file: str, sites: tuple[Path, ...]) -> str:
    """Return the path of a file, relative to site-packages if it is there."""
    for site in sites:
        for directory in (site, site.resolve()):
            if Path(file).is_relative_to(directory):
                return Path(file).relative_to(directory).as_posix()
    return file
