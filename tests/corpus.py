"""All checks on published wheels of well-known projects, beside the answers of auditwheel, delocate and abi3audit.

    python tests/corpus.py [--offline] [--list FILE] [NAME…]

Fetches the wheels that ``corpus.toml`` lists, by name, version and sha256, through pip, into the cache folder; runs every
check on each; asks the other tools about those that they know. Prints each difference. Ends with 1 where a check finds an
error that the list does not explain, or does not find one that it does; where a check breaks; or where another tool's
answer differs from ours and the list does not say why. Since published wheels are good as a rule, each is also given the
best tag that the other tool finds right, and the next better one, which is wrong: the line must be the same.
With names, only the wheels of these projects.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_wheelcheck.checks import CheckResult, run_checks
from pytest_wheelcheck.checks.parser_client import analyze_policies
from pytest_wheelcheck.checks.policies import libc_and_architecture
from pytest_wheelcheck.model import Outcome, Severity, Wheel
from pytest_wheelcheck.reporting.expect import families, parse_platform
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.wheels.reader import open_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = Path(__file__).with_name("corpus.toml")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A wheel of the list.

    :param explained: error findings that are right, by code, with the evidence.
    :param differs: tools whose answer is another, with the reason.
    """

    name: str
    version: str
    file: str
    sha256: str
    explained: dict[str, str] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)


def read_list(path: Path) -> list[Listed]:
    with path.open("rb") as stream:
        return [Listed(**entry) for entry in tomllib.load(stream)["wheel"]]


def fetch(listed: list[Listed], folder: Path) -> None:
    """Get what is not there, one call of pip for each combination of tags."""
    groups: dict[tuple[str, ...], list[Listed]] = collections.defaultdict(list)
    for one in listed:
        if not is_there(one, folder):
            python, abi, platform = one.file.removesuffix(".whl").split("-")[-3:]
            groups[python, abi, platform].append(one)
    folder.mkdir(parents=True, exist_ok=True)
    for (python, abi, platform), wanted in groups.items():
        with tempfile.TemporaryDirectory() as name:
            requirements = Path(name, "requirements.txt")
            lines = [f"{one.name}=={one.version} --hash=sha256:{one.sha256}" for one in wanted]
            requirements.write_text("\n".join(lines), encoding="utf-8")
            first = python.split(".")[0]
            words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            words += ["--disable-pip-version-check", "--require-hashes", "--dest", str(folder)]
            # A wheel for any Python 3 may still refuse the oldest ones.
            words += [f"--implementation={first[:2]}", f"--python-version={'3.13' if first[:2] == 'py' else first[2:]}"]
            words += [f"--abi={one}" for one in abi.split(".")]
            words += [f"--platform={one}" for one in platform.split(".")]
            subprocess.run([*words, "-r", str(requirements)], check=True, timeout=900)


def is_there(one: Listed, folder: Path) -> bool:
    path = folder / one.file
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256


# The other tools --------------------------------------------------------------------------------------------------------


def auditwheel(wheel: Wheel) -> bool | None:
    """Whether auditwheel finds the tag of a Linux wheel earned; ``None`` where it has no answer."""
    earned = earned_policy(wheel)
    # Of several tags, an installer may take any.
    return version_of(earned) <= min(map(version_of, wheel.platforms)) if earned else None


def earned_policy(wheel: Wheel) -> str:
    """The best tag that auditwheel finds earned; an empty string where it has no answer."""
    if not any(map(libc_and_architecture, wheel.platforms)):
        return ""
    # Not as this project asks it, but its own command, which is what people run.
    done = run("auditwheel", "show", "--json", "--ldpaths", "", str(wheel.path))
    return "" if done.returncode else str(json.loads(done.stdout)["overall_tag"])


def version_of(platform: str) -> tuple[int, int]:
    """The version of the C library that a policy or tag promises; the largest for a bare ``linux``."""
    found = parse_platform(platform)
    return found[1] if found else (99, 99)


def at_the_edge_of_auditwheel(wheel: Wheel) -> Iterator[tuple[str, bool]]:
    """The tag that auditwheel finds earned, and its next stricter one, which is not."""
    earned = earned_policy(wheel)
    if not earned.startswith("manylinux"):
        return
    yield earned, True
    verdict = next(one for one in analyze_policies(wheel.path, wheel) if one.libc == "glibc")
    names = sorted((one.priority, one.name) for one in verdict.policies)
    at = [name for _, name in names].index(earned)
    if at + 1 < len(names):
        yield names[at + 1][1], False


def delocate(wheel: Wheel) -> bool | None:
    """Whether delocate would let a macOS wheel keep the versions in its name."""
    if not wheel.platforms[0].startswith("macosx"):
        return None
    promised = oldest_macos(wheel.platforms)
    return all(version <= promised[arch] for arch, version in needed_macos(wheel).items())


def needed_macos(wheel: Wheel) -> dict[str, tuple[int, int]]:
    """The oldest macOS that delocate finds right, for each processor."""
    from delocate.delocating import _calculate_minimum_wheel_name

    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(wheel.path) as archive:
            archive.extractall(name)
        proposed, _ = _calculate_minimum_wheel_name(wheel.path.name, Path(name), None)
    return oldest_macos(proposed.removesuffix(".whl").rpartition("-")[2].split("."))


def at_the_edge_of_delocate(wheel: Wheel) -> Iterator[tuple[str, bool]]:
    """The oldest macOS that delocate finds right, and the one before it, where an interpreter knows such a tag."""
    if not wheel.platforms[0].startswith("macosx"):
        return
    for arch, (major, minor) in needed_macos(wheel).items():
        if len(oldest_macos(wheel.platforms)) > 1:
            continue  # universal2 has one version for both
        yield f"macosx_{major}_{minor}_{arch}", True
        before = (major, minor - 1) if minor else (major - 1, 0) if major > 11 else (10, 15)
        if arch != "arm64" or before >= (11, 0):
            yield f"macosx_{before[0]}_{before[1]}_{arch}", False


def oldest_macos(platforms: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The oldest macOS for each processor."""
    oldest: dict[str, tuple[int, int]] = {}
    for platform in platforms:
        parts = parse_platform(platform)
        for family in families(platform) if parts else ():
            arch = family.partition("_")[2]
            # No Mac with an arm64 processor ran an older one.
            version = max(parts[1] if parts else (0, 0), (11, 0) if arch == "arm64" else (0, 0))
            oldest[arch] = min(version, oldest.get(arch, version))
    return oldest


def abi3audit(wheel: Wheel) -> bool | None:
    """Whether abi3audit finds nothing in an abi3 wheel."""
    if not any(tag.abi == "abi3" for tag in wheel.tags) or not wheel.extension_modules:
        return None
    return run(sys.executable, "-m", "abi3audit", "--strict", str(wheel.path)).returncode == 0


def at_the_edge_of_abi3audit(wheel: Wheel) -> Iterator[tuple[str, bool]]:
    """The oldest interpreter that abi3audit finds right, and the one before it."""
    if abi3audit(wheel) is None:
        return
    with tempfile.TemporaryDirectory(dir=wheel.path.parent) as folder:
        # It starts counting at the tag's version.
        stem, _, abi, platform = wheel.path.name.rsplit("-", 3)
        copy = Path(folder, f"{stem}-cp32-{abi}-{platform}")
        copy.hardlink_to(wheel.path)
        report = json.loads(run(sys.executable, "-m", "abi3audit", "--report", str(copy)).stdout)
    (answer,) = report["specs"].values()
    computed = max(tuple(map(int, one["result"]["computed"].split("."))) for one in answer["wheel"])
    yield f"cp{computed[0]}{computed[1]}", True
    if computed > (3, 2):
        yield f"cp{computed[0]}{computed[1] - 1}", False


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "500"}
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=900, env=environment)


#: A tool to its question, and the codes that say the same.
TOOLS = {
    "auditwheel": (auditwheel, ("WHL301",)),
    "delocate": (delocate, ("WHL401",)),
    "abi3audit": (abi3audit, ("WHL607", "WHL608")),
}
#: A tool to what it finds just right and just wrong: a platform, or an interpreter; and the code that must say the same.
EDGES = {
    "auditwheel": (at_the_edge_of_auditwheel, "WHL301"),
    "delocate": (at_the_edge_of_delocate, "WHL401"),
    "abi3audit": (at_the_edge_of_abi3audit, "WHL607"),
}


# One wheel --------------------------------------------------------------------------------------------------------------


def judge(one: Listed, path: Path, store: Path) -> Iterator[tuple[str, str]]:
    """Yield kind and text of all that is worth telling of a wheel."""
    started = time.perf_counter()
    wheel = open_wheel(path, shown=one.file, store=store)
    results = run_checks(wheel)
    yield "seconds", f"{time.perf_counter() - started:.2f}"
    yield "checks", str(len(results))
    errors = {finding.code for finding in found(results) if finding.severity is Severity.ERROR}
    for result in results:
        if result.error:
            yield "wrong", f"{one.file}: {result.check.name} broke: {result.error.strip().splitlines()[-1]}"
        if result.skip_reason:
            yield "skipped", f"{one.file}: {result.check.name}"
    for finding in found(results):
        if finding.severity is Severity.WARNING:
            yield "warning", f"{one.file}: {finding.code}"
        else:
            yield "error", f"{one.file}: {finding.code}: {finding.message}"
    for code in sorted(errors - set(one.explained)):
        yield "wrong", f"{one.file}: {code} is not explained in the list"
    for code in sorted(set(one.explained) - errors):
        yield "wrong", f"{one.file}: the list explains {code}, which is not found"
    for tool, (ask, codes) in TOOLS.items():
        theirs = ask(wheel)
        if theirs is None:
            continue
        said = {finding.code for finding in found(results)} & set(codes)
        same = theirs == (not said)
        yield ("agrees" if same else "differs"), tool
        if same is (tool in one.differs):
            ours = ", ".join(sorted(said)) or "nothing"
            yield "wrong", f"{one.file}: {tool} says {'good' if theirs else 'bad'}, the checks say {ours}"
        elif not same:
            yield "difference", f"{one.file}: {tool}: {one.differs[tool]}"


def judge_edges(one: Listed, path: Path, store: Path) -> Iterator[tuple[str, str]]:
    """Give a wheel the tags that another tool finds just right and just wrong: the checks must draw the same line."""
    wheel = open_wheel(path, shown=one.file, store=store)
    for tool, (edges, code) in EDGES.items():
        for word, good in edges(wheel):
            stem, python, abi, platform = one.file.removesuffix(".whl").rsplit("-", 3)
            renamed = f"{stem}-{word}-{abi}-{platform}.whl" if word[:2] == "cp" else f"{stem}-{python}-{abi}-{word}.whl"
            with tempfile.TemporaryDirectory(dir=store) as folder:
                copy = Path(folder, renamed)
                copy.hardlink_to(wheel.path)
                (result,) = run_checks(open_wheel(copy, shown=renamed, store=Path(folder)), select=[code])
            same = result.outcome is (Outcome.PASSED if good else Outcome.FAILED)
            yield (f"edge {'right' if good else 'wrong'}" if same else "edge differs"), tool
            if not same and f"{tool} {word}" not in one.differs:
                yield "wrong", f"{renamed}: {tool} says {'good' if good else 'bad'}, {code} {result.outcome.value}"
            elif not same:
                yield "difference", f"{renamed}: {tool}: {one.differs[f'{tool} {word}']}"


def found(results: list[CheckResult]) -> list[Any]:
    return [finding for result in results for finding in result.findings]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", type=Path, default=LIST)
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    given = parser.parse_args()
    listed = [one for one in read_list(given.list) if not given.names or one.name in given.names]
    folder = cache.root() / "corpus"
    if not given.offline:
        fetch(listed, folder)
    missing = [one.file for one in listed if not is_there(one, folder)]
    if missing:
        sys.exit("not there, or with another sha256: " + ", ".join(missing))
    told: dict[str, list[str]] = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as store, ThreadPoolExecutor(os.cpu_count()) as pool:

        def work_on(one: Listed) -> list[tuple[str, str]]:
            path = folder / one.file
            return [*judge(one, path, Path(store)), *judge_edges(one, path, Path(store))]

        work = pool.map(work_on, listed)
        for answers in work:
            for kind, text in answers:
                told[kind].append(text)
                if kind in {"error", "wrong", "difference"}:
                    print(f"{kind}: {text}", flush=True)
    print(f"{len(listed)} wheels of {len({one.name for one in listed})} projects")
    print(f"{sum(map(int, told['checks']))} checks, {sum(map(float, told['seconds'])):.0f} s")
    for kind in ("error", "warning", "skipped"):
        codes = collections.Counter(re.findall(r"WHL\d+", " ".join(text.partition(": ")[2] for text in told[kind])))
        print(f"{kind}: {len(told[kind])} {dict(sorted(codes.items())) or ''}")
    for tool in TOOLS:
        print(f"{tool}: agrees on {told['agrees'].count(tool)} wheels, differs on {told['differs'].count(tool)}")
        right, wrong, differs = (told[f"edge {kind}"].count(tool) for kind in ("right", "wrong", "differs"))
        print(f"  given its best tag {right} pass, given the next better {wrong} fail; {differs} differ")
    print(f"wrong: {len(told['wrong'])}")
    return int(bool(told["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
