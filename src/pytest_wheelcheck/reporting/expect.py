"""The expected wheels of a release: the syntax of ``--wheel-expect``, and the comparison with the wheels at hand.

One clause per line, or separated by semicolons: interpreters, a colon, platforms, each separated by spaces or commas::

    cp312-cp314 cp314t: manylinux_x86_64 manylinux_aarch64 musllinux_x86_64 macosx_arm64 win_amd64
    cp39-abi3: win_arm64
    py3: any
    sdist
    others

Every interpreter of a clause is expected on every platform of the clause.

Interpreters are ``cp312``, ``cp314t``, ``pp311``; a range ``cp312-cp314``; ``abi3`` or ``cp39-abi3`` (and ``abi3t``) for a
wheel of the stable ABI itself; ``py3`` for a wheel without an interpreter's ABI. An interpreter is covered by every wheel
that it can install: ``cp312`` also by one for ``cp39-abi3`` or ``py3-none``, but never by a wheel for the platform ``any``,
because a package with a pure fallback may have that in addition to its native wheels.

Platforms are ``any``, ``win_amd64``, ``win32``, ``win_arm64``; and families with or without a version: ``manylinux_x86_64``,
``manylinux_2_28_x86_64`` (at most that version of the C library, in any spelling of the tag), ``musllinux_aarch64``,
``macosx_arm64``, ``macosx_11_0_x86_64`` (both also covered by ``universal2``), ``macosx_universal2``, ``linux_armv7l``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from pytest_wheelcheck.errors import UsageError

SDIST = "sdist"

#: The clause after which no wheel is unexpected.
OTHERS = "others"

#: The clause that stands for what the previous release on the index had; see :mod:`.previous`.
PREVIOUS = "previous"

_SINGLE = re.compile(r"(?P<kind>cp|pp)(?P<major>[23])(?P<minor>\d{1,2})(?P<free>t?)")
_STABLE = re.compile(r"(?:cp3(?P<minor>\d{1,2})-)?(?P<abi>abi3t?)")
_PURE = re.compile(r"py[23]\d{0,2}")
_PLATFORM = re.compile(
    r"(?P<family>manylinux|musllinux|macosx)_(?:(?P<major>\d+)_(?P<minor>\d+)_)?(?P<arch>[a-z][a-z0-9_]*)"
)
_OTHER = re.compile(
    r"any|win32|win_amd64|win_arm64|linux_[a-z0-9_]+|(?:ios|android|pyodide|pyemscripten|emscripten)_\w+"
)
#: The glibc versions of the older names (PEP 600).
_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_UNIVERSAL = {"universal2": ("x86_64", "arm64"), "intel": ("i386", "x86_64")}
#: Maximum number of interpreters in a range.
_MAX_RANGE = 40


#: A platform and an interpreter: ``("manylinux_x86_64", "cp312")``.
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseFile:
    """A wheel or source distribution, as far as it is compared with the expected wheels.

    :param filename: its name.
    :param project: name of the project, as in the file name.
    :param tags: the compatibility tags, expanded; empty for an sdist.
    """

    filename: str
    project: str
    tags: tuple[str, ...] = ()


def wheel_file(filename: str, project: str) -> ReleaseFile:
    """Return a wheel of which only the name is known; without tags if it is no name of a wheel."""
    try:
        tags = sorted(map(str, parse_wheel_filename(filename)[3]))
    except InvalidWheelFilename:
        tags = []
    return ReleaseFile(filename=filename, project=project, tags=tuple(tags))


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The differences between a release and the expected wheels.

    :param missing: a text for each missing wheel: ``cp313 on musllinux_x86_64``.
    :param unexpected: a text for each unexpected file, with its name.
    :param missing_pairs: the missing pairs; an sdist has none.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    missing_pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """The expected files of a release.

    :param pairs: in the order of the clauses, each once.
    :param sdist: whether a source distribution is expected.
    :param others: whether other files may be there as well.
    """

    pairs: tuple[Pair, ...]
    sdist: bool = False
    others: bool = False


def split(lines: Iterable[str]) -> Iterator[str]:
    """Yield the clauses of lines, without comments."""
    for clause in (part.strip() for line in lines for part in line.split(";")):
        if clause and not clause.startswith("#"):
            yield clause


def parse(lines: Iterable[str], where: str = "--wheel-expect") -> Expectation:
    """Parse clauses.

    :param where: the option or key, for messages.
    :raises UsageError: a clause has another syntax.
    """
    pairs: dict[Pair, None] = {}
    sdist = others = False
    for clause in split(lines):
        if clause == SDIST:
            sdist = True
            continue
        if clause == OTHERS:
            others = True
            continue
        left, colon, right = clause.partition(":")
        interpreters = [
            name for word in re.split(r"[\s,]+", left) if word for name in _interpreters(word, clause, where)
        ]
        platforms = [word for word in re.split(r"[\s,]+", right) if word]
        if not colon or not interpreters or not platforms:
            raise UsageError(
                f"{where}: {clause!r} is not of the form `INTERPRETERS: PLATFORMS`",
                fix="write for example `cp312-cp314: manylinux_x86_64 macosx_arm64 win_amd64`, or `sdist` alone",
            )
        for platform in platforms:
            if platform != SDIST and not _is_platform(platform):
                raise UsageError(
                    f"{where}: {platform!r} in {clause!r} is not a platform",
                    fix="use names such as manylinux_x86_64, manylinux_2_28_aarch64, musllinux_x86_64, macosx_arm64, "
                    "win_amd64, win32, any",
                )
            sdist = sdist or platform == SDIST
        pairs.update(
            dict.fromkeys((platform, name) for platform in platforms if platform != SDIST for name in interpreters)
        )
    return Expectation(pairs=tuple(pairs), sdist=sdist, others=others)


def _is_platform(word: str) -> bool:
    return any(pattern.fullmatch(word) for pattern in (_PLATFORM, _OTHER))


def _interpreters(word: str, clause: str, where: str) -> list[str]:
    if _SINGLE.fullmatch(word) or _STABLE.fullmatch(word) or _PURE.fullmatch(word):
        return [word]
    first, dash, last = word.partition("-")
    start, end = _SINGLE.fullmatch(first), _SINGLE.fullmatch(last)
    if dash and start and end and start["kind"] == end["kind"] and start["major"] == end["major"]:
        low, high = int(start["minor"]), int(end["minor"])
        if start["free"] == end["free"] and low <= high < low + _MAX_RANGE:
            return [f"{start['kind']}{start['major']}{minor}{start['free']}" for minor in range(low, high + 1)]
    raise UsageError(
        f"{where}: {word!r} in {clause!r} is not an interpreter",
        fix="use names such as cp312, cp314t, pp311, abi3, cp39-abi3, py3, or a range such as cp312-cp314",
    )


def compare(expected: Expectation, files: Sequence[ReleaseFile]) -> Comparison:
    """Compare the files of a release with the expected files. Each of several projects must have all of them."""
    missing: list[str] = []
    unexpected: list[str] = []
    missing_pairs: dict[Pair, None] = {}
    projects: dict[str, None] = dict.fromkeys(canonicalize_name(file.project) for file in files) or {"": None}
    for project in projects:
        own = [file for file in files if canonicalize_name(file.project) == project]
        prefix = f"{project}: " if len(projects) > 1 else ""
        lacking = [pair for pair in expected.pairs if not any(covers(file, pair) for file in own)]
        missing_pairs.update(dict.fromkeys(lacking))
        missing += [f"{prefix}{interpreter} on {platform}" for platform, interpreter in lacking]
        if expected.sdist and all(file.tags for file in own):
            missing.append(f"{prefix}the sdist")
        for file in own if not expected.others else ():
            if not file.tags:
                if not expected.sdist:
                    unexpected.append(f"{file.filename} (an sdist)")
            elif not any(covers(file, pair) for pair in expected.pairs):
                covered = ", ".join(f"{interpreter} on {platform}" for platform, interpreter in pairs(file.tags))
                unexpected.append(f"{file.filename} ({covered})")
    return Comparison(missing=tuple(missing), unexpected=tuple(unexpected), missing_pairs=tuple(missing_pairs))


def covers(file: ReleaseFile, pair: Pair) -> bool:
    """Return whether a file has a tag for a platform and interpreter."""
    platform, interpreter = pair
    return any(_admits(tag, interpreter) and fits(tag.platform, platform) for tag in map(read_tag, file.tags))


def read_tag(text: str) -> Tag:
    """Parse a compatibility tag such as ``cp312-cp312-win_amd64``."""
    interpreter, abi, platform = text.split("-", 2)
    return Tag(interpreter, abi, platform)


def pairs(tags: Iterable[str]) -> dict[Pair, None]:
    """Return the pairs of platform (without its version) and interpreter that tags name, in their order."""
    found: dict[Pair, None] = {}
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
    """Return whether a wheel with a tag is one for the wanted interpreter."""
    if found := _STABLE.fullmatch(wanted):
        return tag.abi == found["abi"] and (not found["minor"] or tag.interpreter == f"cp3{found['minor']}")
    if _PURE.fullmatch(wanted):
        return tag.abi == "none" and tag.interpreter == wanted
    single = _SINGLE.fullmatch(wanted)
    if single is None:
        return False
    if tag.interpreter == wanted.removesuffix("t") and tag.abi not in {"abi3", "abi3t", "none"}:
        if single["kind"] == "cp":
            return (
                re.fullmatch(rf"cp{single['major']}{single['minor']}({'t' if single['free'] else 'm?'})", tag.abi)
                is not None
            )
        return True
    if tag.abi in {"abi3", "abi3t"} and single["kind"] == "cp":
        own = re.fullmatch(r"cp(\d)(\d*)", tag.interpreter)
        newer = own is not None and own[1] == single["major"] and int(own[2] or 2) <= int(single["minor"])
        return newer and (tag.abi == "abi3t" if single["free"] else True)
    if tag.abi == "none":
        number = re.fullmatch(r"(py|cp|pp)(\d)(\d*)", tag.interpreter)
        if number is None or number[2] != single["major"] or number[1] not in {"py", single["kind"]}:
            return False
        exact = number[1] != "py"
        minor = int(number[3] or 0)
        return not number[3] or (minor == int(single["minor"]) if exact else minor <= int(single["minor"]))
    return False


def fits(have: str, wanted: str) -> bool:
    """Return whether the platform *have* of a tag fits the *wanted* platform."""
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
    """Divide a platform tag into family, version and architecture; return ``None`` for a tag without these parts."""
    prefix, _, rest = platform.partition("_")
    if prefix in _LEGACY:
        return "manylinux", _LEGACY[prefix], rest
    found = _PLATFORM.fullmatch(platform)
    if found is None or found["major"] is None:
        return None
    return found["family"], (int(found["major"]), int(found["minor"])), found["arch"]


def families(platform: str) -> tuple[str, ...]:
    """Return the platforms of a tag without their versions: ``manylinux_x86_64`` for ``manylinux_2_17_x86_64``.

    ``universal2`` gives a platform for each of its two architectures.
    """
    found = parse_platform(platform)
    if found is None:
        return (platform,)
    family, _, arch = found
    return tuple(f"{family}_{name}" for name in _UNIVERSAL.get(arch, (arch,)))
