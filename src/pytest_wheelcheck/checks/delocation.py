"""delocate's analysis of a macOS wheel, as values that the parser process sends.

delocate needs otool and lipo, so it is used on macOS hosts only. On other hosts, and for macOS without the command line
tools of Xcode, the checks use the load commands that our own reader finds. The tests compare both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DelocatedFile:
    """delocate's analysis of one Mach-O file.

    :param architectures: the architectures of its slices.
    :param minimum_versions: minimum macOS version by architecture, such as ``11.0``.
    :param unresolved: libraries that are neither part of macOS nor in the wheel: install name to path on this host;
        the path is empty if the library was not found.
    """

    architectures: frozenset[str]
    minimum_versions: Mapping[str, str]
    unresolved: Mapping[str, str]
