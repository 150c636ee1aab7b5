"""What a release must cover: the small language of ``--wheel-expect``, and what is missing from it or not in it.

One clause a line (or between semicolons): interpreters, a colon, platforms, each separated by spaces or commas::

    cp312-cp314 cp314t: manylinux_x86_64 manylinux_aarch64 musllinux_x86_64 macosx_arm64 win_amd64
    cp39-abi3: win_arm64
    py3: any
    sdist

Every interpreter of a clause is expected on every platform of it.

Interpreters are ``cp312``, ``cp314t``, ``pp311``; a range ``cp312-cp314``; ``abi3`` or ``cp39-abi3`` (and ``abi3t``) for a
wheel of the stable ABI itself; ``py3`` for a wheel of no interpreter's ABI. An interpreter is covered by every wheel that
it installs there: ``cp312`` also by one for ``cp39-abi3`` or ``py3-none``, but never by a wheel for the platform ``any``,
which a package with a pure fallback may have instead of its native ones.

Platforms are ``any``, ``win_amd64``, ``win32``, ``win_arm64``; and families with or without a version: ``manylinux_x86_64``,
``manylinux_2_28_x86_64`` (at most that version of the C library, however the tag is spelt), ``musllinux_aarch64``,
``macosx_arm64``, ``macosx_11_0_x86_64`` (both also covered by ``universal2``), ``macosx_universal2``, ``linux_armv7l``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.tags import Tag
from packaging.utils import canonicalize_name

from pytest_wheelcheck.errors import UsageError

SDIST = "sdist"

_ONE = re.compile(r"(?P<kind>cp|pp)(?P<major>[23])(?P<minor>\d{1,2})(?P<free>t?)")
_STABLE = re.compile(r"(?:cp3(?P<minor>\d{1,2})-)?(?P<abi>abi3t?)")
_PURE = re.compile(r"py[23]\d{0,2}")
_PLATFORM = re.compile(
    r"(?P<family>manylinux|musllinux|macosx)_(?:(?P<major>\d+)_(?P<minor>\d+)_)?(?P<arch>[a-z][a-z0-9_]*)"
)
_OTHER = re.compile(r"any|win32|win_amd64|win_arm64|linux_[a-z0-9_]+|(?:ios|android|pyodide|emscripten)_\w+")
#: The glibc that the older names stand for (PEP 600).
_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_UNIVERSAL = {"universal2": ("x86_64", "arm64"), "intel": ("i386", "x86_64")}
#: Interpreters that one range may name.
_MAX_RANGE = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A file of a release, as far as it is compared with what is expected.

    :param name: of the project, as the file name has it.
    :param tags: whole tags, expanded; none for an sdist.
    """

    file: str
    name: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What a release lacks, and what nobody asked for.

    :param missing: one text each: ``cp313 on musllinux_x86_64``.
    :param unexpected: one text each, with the file.
    :param missing_cells: the missing pairs of platform and interpreter; none for an sdist.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    missing_cells: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What must be there.

    :param cells: pairs of platform and interpreter, in the order in which they were asked for, each once.
    :param sdist: whether a source distribution must be there.
    """

    cells: tuple[tuple[str, str], ...]
    sdist: bool = False


def parse(lines: Iterable[str]) -> Expectation:
    """Read clauses.

    :raises UsageError: one cannot be understood.
    """
    cells: dict[tuple[str, str], None] = {}
    sdist = False
    for clause in (part.strip() for line in lines for part in line.split(";")):
        if not clause or clause.startswith("#"):
            continue
        if clause == SDIST:
            sdist = True
            continue
        left, colon, right = clause.partition(":")
        interpreters = [one for word in re.split(r"[\s,]+", left) if word for one in _interpreters(word, clause)]
        platforms = [word for word in re.split(r"[\s,]+", right) if word]
        if not colon or not interpreters or not platforms:
            raise UsageError(
                f"--wheel-expect: {clause!r} is not of the form `INTERPRETERS: PLATFORMS`",
                fix="write, for example, `cp312-cp314: manylinux_x86_64 macosx_arm64 win_amd64`, or `sdist` alone",
            )
        for platform in platforms:
            if platform != SDIST and not _is_platform(platform):
                raise UsageError(
                    f"--wheel-expect: {platform!r} is no platform, in {clause!r}",
                    fix="platforms are called manylinux_x86_64, manylinux_2_28_aarch64, musllinux_x86_64, macosx_arm64, "
                    "win_amd64, win32, any",
                )
            sdist = sdist or platform == SDIST
        cells.update(
            dict.fromkeys((platform, one) for platform in platforms if platform != SDIST for one in interpreters)
        )
    return Expectation(cells=tuple(cells), sdist=sdist)


def _is_platform(word: str) -> bool:
    found = _PLATFORM.fullmatch(word)
    return found is not None or _OTHER.fullmatch(word) is not None


def _interpreters(word: str, clause: str) -> list[str]:
    if _ONE.fullmatch(word) or _STABLE.fullmatch(word) or _PURE.fullmatch(word):
        return [word]
    first, dash, last = word.partition("-")
    one, other = _ONE.fullmatch(first), _ONE.fullmatch(last)
    if dash and one and other and one["kind"] == other["kind"] and one["major"] == other["major"]:
        low, high = int(one["minor"]), int(other["minor"])
        if one["free"] == other["free"] and low <= high < low + _MAX_RANGE:
            return [f"{one['kind']}{one['major']}{minor}{one['free']}" for minor in range(low, high + 1)]
    raise UsageError(
        f"--wheel-expect: {word!r} is no interpreter, in {clause!r}",
        fix="interpreters are called cp312, cp314t, pp311, abi3, cp39-abi3 or py3; a range is written cp312-cp314",
    )


def compare(expected: Expectation, files: Sequence[Given]) -> Comparison:
    """Compare the files of a release, of one or several projects, with what each of the projects must have."""
    missing: list[str] = []
    unexpected: list[str] = []
    lost: dict[tuple[str, str], None] = {}
    projects: dict[str, None] = dict.fromkeys(canonicalize_name(file.name) for file in files) or {"": None}
    for project in projects:
        own = [file for file in files if canonicalize_name(file.name) == project]
        prefix = f"{project}: " if len(projects) > 1 else ""
        lacking = [cell for cell in expected.cells if not any(covers(file, cell) for file in own)]
        lost.update(dict.fromkeys(lacking))
        missing += [f"{prefix}{interpreter} on {platform}" for platform, interpreter in lacking]
        if expected.sdist and all(file.tags for file in own):
            missing.append(f"{prefix}the sdist")
        for file in own:
            if not file.tags:
                if not expected.sdist:
                    unexpected.append(f"{file.file} (an sdist)")
            elif not any(covers(file, cell) for cell in expected.cells):
                are = ", ".join(f"{interpreter} on {platform}" for platform, interpreter in cells(file.tags))
                unexpected.append(f"{file.file} ({are})")
    return Comparison(missing=tuple(missing), unexpected=tuple(unexpected), missing_cells=tuple(lost))


def covers(file: Given, cell: tuple[str, str]) -> bool:
    """Whether one of a file's tags is what a cell asks for."""
    platform, interpreter = cell
    return any(_admits(tag, interpreter) and fits(tag.platform, platform) for tag in map(read_tag, file.tags))


def read_tag(text: str) -> Tag:
    """Read one whole tag, such as ``cp312-cp312-win_amd64``."""
    interpreter, abi, platform = text.split("-", 2)
    return Tag(interpreter, abi, platform)


def cells(tags: Iterable[str]) -> dict[tuple[str, str], None]:
    """List the pairs of platform (without its version) and interpreter that tags name."""
    found: dict[tuple[str, str], None] = {}
    for tag in map(read_tag, tags):
        if tag.abi.startswith("abi3"):
            interpreter = f"{tag.interpreter}-{tag.abi}"
        elif re.fullmatch(rf"{tag.interpreter}t", tag.abi):
            interpreter = tag.abi
        else:
            interpreter = tag.interpreter
        for platform in families(tag.platform):
            found[platform, interpreter] = None
    return found


def _admits(tag: Tag, wanted: str) -> bool:
    """Whether a wheel with a tag is one for the interpreter that is wanted."""
    if found := _STABLE.fullmatch(wanted):
        return tag.abi == found["abi"] and (not found["minor"] or tag.interpreter == f"cp3{found['minor']}")
    if _PURE.fullmatch(wanted):
        return tag.abi == "none" and tag.interpreter == wanted
    one = _ONE.fullmatch(wanted)
    if one is None:
        return False
    if tag.interpreter == wanted.removesuffix("t") and tag.abi not in {"abi3", "abi3t", "none"}:
        if one["kind"] == "cp":
            return re.fullmatch(rf"cp{one['major']}{one['minor']}({'t' if one['free'] else 'm?'})", tag.abi) is not None
        return True
    if tag.abi in {"abi3", "abi3t"} and one["kind"] == "cp":
        own = re.fullmatch(r"cp(\d)(\d*)", tag.interpreter)
        newer = own is not None and own[1] == one["major"] and int(own[2] or 2) <= int(one["minor"])
        return newer and (tag.abi == "abi3t" if one["free"] else True)
    if tag.abi == "none":
        number = re.fullmatch(r"(py|cp|pp)(\d)(\d*)", tag.interpreter)
        if number is None or number[2] != one["major"] or number[1] not in {"py", one["kind"]}:
            return False
        exact = number[1] != "py"
        minor = int(number[3] or 0)
        return not number[3] or (minor == int(one["minor"]) if exact else minor <= int(one["minor"]))
    return False


def fits(have: str, wanted: str) -> bool:
    """Whether a wheel's platform tag is one for the platform that is wanted."""
    if have == wanted:
        return True
    asked = _PLATFORM.fullmatch(wanted)
    found = parse_platform(have)
    if asked is None or found is None:
        return False
    family, version, arch = found
    archs = (arch, *_UNIVERSAL.get(arch, ()))
    if family != asked["family"] or asked["arch"] not in archs:
        return False
    return asked["major"] is None or version <= (int(asked["major"]), int(asked["minor"]))


def parse_platform(platform: str) -> tuple[str, tuple[int, int], str] | None:
    """Divide a platform tag into family, version and architecture; ``None`` for one without these parts."""
    prefix, _, rest = platform.partition("_")
    if prefix in _LEGACY:
        return "manylinux", _LEGACY[prefix], rest
    found = _PLATFORM.fullmatch(platform)
    if found is None or found["major"] is None:
        return None
    return found["family"], (int(found["major"]), int(found["minor"])), found["arch"]


def families(platform: str) -> tuple[str, ...]:
    """Name the platforms of a tag without their versions: ``manylinux_2_17_x86_64`` is ``manylinux_x86_64``.

    ``universal2`` is each of its two processors.
    """
    found = parse_platform(platform)
    if found is None:
        return (platform,)
    family, _, arch = found
    return tuple(f"{family}_{one}" for one in _UNIVERSAL.get(arch, (arch,)))
