"""The texts of reasons: what a wheel needs, what was found, why an interpreter is not for a wheel."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_wheelcheck.interpreters import tags
from pytest_wheelcheck.interpreters.base import OLDEST, Offer, Unavailable
from pytest_wheelcheck.model import Outcome, Platform
from pytest_wheelcheck.targets.planning.choices import interpreter_of
from pytest_wheelcheck.targets.planning.specs import Interpreter
from pytest_wheelcheck.targets.planning.tag_groups import TagGroup

#: Names of systems in reasons.
_SYSTEMS = {"darwin": "macOS", "win32": "Windows", "linux": "Linux", "ios": "iOS", "android": "Android"}

#: The oldest supported version, as a reason.
TOO_OLD = f"the oldest supported version is {'.'.join(map(str, OLDEST))}"


def not_admitted(group: TagGroup, admitted: Sequence[Interpreter], requested: Interpreter, path: str = "") -> str:
    """Return why a requested interpreter is not for a wheel.

    :param admitted: the interpreters that the wheel is for.
    :param path: of the interpreter, if it was requested by its path.
    """
    named = f"{requested} ({path})" if path else str(requested)
    why = _why_not(group, requested)
    return f"needs {describe(group, admitted)}, but {named} was requested{f': {why}' if why else ''}"


def _why_not(group: TagGroup, requested: Interpreter) -> str:
    """Return the rule that excludes an interpreter, where it is not obvious from the versions."""
    abis = {tag.split("-")[1] for tag in group.tags}
    if requested.implementation != "cpython" and not any(tag.startswith(("pp", "py")) for tag in group.tags):
        return f"{'abi3' if 'abi3' in abis else 'the wheel'} is for CPython only"
    if requested.free_threaded and "abi3" in abis:
        return "abi3 is not for free-threaded CPython"
    return ""


def describe(group: TagGroup, wanted: Sequence[Interpreter]) -> str:
    """Name the interpreters that a wheel needs.

    :param wanted: those that its tags admit.
    """
    if not wanted:
        return f"an interpreter that accepts {', '.join(sorted(group.tags))}"
    stable = any("-abi3" in tag or tag.startswith("py") for tag in group.tags)
    if stable and (len({interpreter.kind for interpreter in wanted}) == 1 or len(wanted) > 3):
        return f"{min(wanted)} or newer"
    return listed([str(interpreter) for interpreter in wanted], "or")


def too_old_system(group: TagGroup, offers: Sequence[Offer]) -> str:
    """Say that the C library or the system of the available interpreters is older than the wheel needs.

    :param offers: interpreters that would fit otherwise.
    """
    minimum = ".".join(map(str, group.minimum_libc))
    if group.platform.libc:
        libc, have = group.platform.libc, ".".join(map(str, max(offer.libc_version for offer in offers)))
        return f"needs {libc} {minimum} or newer, but the available interpreters have at most {libc} {have}"
    versions = [tags.split_platform(tag.rpartition("-")[2])[3] for offer in offers for tag in offer.tags]
    have = ".".join(map(str, max(versions, default=(0, 0))))
    system = _SYSTEMS.get(group.platform.system, group.platform.system)
    return f"needs {system} {minimum} or newer, but this host has {have}"


def describe_platform(requested: Platform, host: Platform) -> str:
    """Name the part of a platform in which it differs from the host: ``macOS``, ``aarch64``, ``musl libc``."""
    if requested.system != host.system:
        return _SYSTEMS.get(requested.system, f"a platform {requested.system}_{requested.architecture}")
    parts = []
    if requested.architecture != host.architecture:
        parts.append(requested.architecture)
    if requested.libc != host.libc:
        parts.append("musl libc" if requested.libc == "musl" else requested.libc)
    return " with ".join(parts) or "an interpreter, but none was found"


def found(offers: Sequence[Offer]) -> str:
    """Name the interpreters that were found."""
    return listed(_short_names(offers), "and")


def only_found(offers: Sequence[Offer]) -> str:
    """Say that no others were found."""
    return f"only {found(offers)} {'were' if len(_short_names(offers)) > 1 else 'was'} found"


def _short_names(offers: Sequence[Offer]) -> list[str]:
    return [interpreter.short for interpreter in sorted({interpreter_of(offer) for offer in offers})]


def listed(words: Sequence[str], last: str) -> str:
    """Join words to a list.

    :param last: the word before the last one, such as ``and``.
    """
    if len(words) < 2:
        return "".join(words) or "none"
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def with_reasons(reason: str, reasons: Sequence[Unavailable]) -> str:
    """Append the reasons of providers."""
    return f"{reason} ({'; '.join(map(str, reasons))})" if reasons else reason


def outcome(reasons: Sequence[Unavailable]) -> Outcome:
    """Return ``ERROR`` if it could not be found out whether an interpreter exists, else ``SKIPPED``."""
    return Outcome.ERROR if any(reason.unchecked for reason in reasons) else Outcome.SKIPPED
