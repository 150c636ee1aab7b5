"""Run all checks on published wheels of well-known projects, and compare with auditwheel, delocate and abi3audit.

    python tests/corpus.py [--offline] [--list FILE] [NAME…]

Downloads the wheels in ``corpus.toml``, by name, version and sha256, with pip into the cache directory; runs all checks on
each; runs the other tools on the wheels that they support. Prints every difference. Exits with 1 if a check finds an error
that the list does not explain, or does not find an error that it explains; if a check raises; or if another tool disagrees
and the list does not say why. Most published wheels are sound, so each is also renamed: to the best tag that the other tool
accepts, and to the next better tag, which is wrong. The checks must draw the same line.
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

from pytest_wheelcheck.checks import CheckResult, run_checks
from pytest_wheelcheck.checks.parser_client import analyze_policies
from pytest_wheelcheck.checks.policies import libc_and_architecture
from pytest_wheelcheck.model import Finding, Outcome, Severity, Wheel
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

    :param explained: correct error findings, by code, with the evidence.
    :param differs: tools that disagree, with the reason.
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


def fetch(wheels: list[Listed], directory: Path) -> None:
    """Download the missing wheels, with one pip run for each combination of tags."""
    groups: dict[tuple[str, ...], list[Listed]] = collections.defaultdict(list)
    for listed in wheels:
        if not is_downloaded(listed, directory):
            python, abi, platform = listed.file.removesuffix(".whl").split("-")[-3:]
            groups[python, abi, platform].append(listed)
    directory.mkdir(parents=True, exist_ok=True)
    for (python, abi, platform), missing in groups.items():
        with tempfile.TemporaryDirectory() as name:
            requirements = Path(name, "requirements.txt")
            lines = [f"{listed.name}=={listed.version} --hash=sha256:{listed.sha256}" for listed in missing]
            requirements.write_text("\n".join(lines), encoding="utf-8")
            first = python.split(".")[0]
            # A wheel for any Python 3 may exclude the oldest versions.
            version = "3.13" if first[:2] == "py" else first[2:]
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            argv += ["--disable-pip-version-check", "--require-hashes", "--dest", str(directory)]
            argv += [f"--implementation={first[:2]}", f"--python-version={version}"]
            argv += [f"--abi={part}" for part in abi.split(".")]
            argv += [f"--platform={part}" for part in platform.split(".")]
            subprocess.run([*argv, "-r", str(requirements)], check=True, timeout=900)


def is_downloaded(listed: Listed, directory: Path) -> bool:
    path = directory / listed.file
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == listed.sha256


# The other tools --------------------------------------------------------------------------------------------------------


def auditwheel(wheel: Wheel) -> bool | None:
    """Whether auditwheel accepts the tag of a Linux wheel; ``None`` if it does not support the wheel."""
    best = best_policy(wheel)
    # An installer may use any of several tags.
    return version_of(best) <= min(map(version_of, wheel.platforms)) if best else None


def best_policy(wheel: Wheel) -> str:
    """The best tag that auditwheel accepts; an empty string if it does not support the wheel."""
    if not any(map(libc_and_architecture, wheel.platforms)):
        return ""
    # Its command, as users run it, not the function that the checks call.
    ended = run("auditwheel", "show", "--json", "--ldpaths", "", str(wheel.path))
    return "" if ended.returncode else str(json.loads(ended.stdout)["overall_tag"])


def version_of(platform: str) -> tuple[int, int]:
    """The version of the C library in a policy or tag; the largest for a bare ``linux``."""
    parsed = parse_platform(platform)
    return parsed[1] if parsed else (99, 99)


def limits_of_auditwheel(wheel: Wheel) -> Iterator[tuple[str, bool]]:
    """The best tag that auditwheel accepts, and the next stricter one, which it does not accept."""
    best = best_policy(wheel)
    if not best.startswith("manylinux"):
        return
    yield best, True
    analysis = next(analysis for analysis in analyze_policies(wheel.path, wheel) if analysis.libc == "glibc")
    names = [policy.name for policy in sorted(analysis.policies, key=lambda policy: (policy.priority, policy.name))]
    stricter = names[names.index(best) + 1 :]
    if stricter:
        yield stricter[0], False


def delocate(wheel: Wheel) -> bool | None:
    """Whether delocate accepts the versions in the tags of a macOS wheel."""
    if not wheel.platforms[0].startswith("macosx"):
        return None
    promised = minimum_macos(wheel.platforms)
    return all(version <= promised[architecture] for architecture, version in needed_macos(wheel).items())


def needed_macos(wheel: Wheel) -> dict[str, tuple[int, int]]:
    """The minimum macOS that delocate accepts, for each processor."""
    from delocate.delocating import _calculate_minimum_wheel_name

    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(wheel.path) as archive:
            archive.extractall(name)
        renamed, _ = _calculate_minimum_wheel_name(wheel.path.name, Path(name), None)
    return minimum_macos(renamed.removesuffix(".whl").rpartition("-")[2].split("."))


def limits_of_delocate(wheel: Wheel) -> Iterator[tuple[str, bool]]:
    """The minimum macOS that delocate accepts, and the version before it, if interpreters know such a tag."""
    if not wheel.platforms[0].startswith("macosx"):
        return
    for architecture, (major, minor) in needed_macos(wheel).items():
        if len(minimum_macos(wheel.platforms)) > 1:
            continue  # universal2 has one version for both processors
        yield f"macosx_{major}_{minor}_{architecture}", True
        before = (major, minor - 1) if minor else (major - 1, 0) if major > 11 else (10, 15)
        if architecture != "arm64" or before >= (11, 0):
            yield f"macosx_{before[0]}_{before[1]}_{architecture}", False


def minimum_macos(platforms: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The minimum macOS for each processor."""
    minimum: dict[str, tuple[int, int]] = {}
    for platform in platforms:
        parsed = parse_platform(platform)
        for family in families(platform) if parsed else ():
            architecture = family.partition("_")[2]
            # macOS 11 is the first version for arm64 processors.
            version = max(parsed[1] if parsed else (0, 0), (11, 0) if architecture == "arm64" else (0, 0))
            minimum[architecture] = min(version, minimum.get(architecture, version))
    return minimum


def abi3audit(wheel: Wheel) -> bool | None:
    """Whether abi3audit accepts an abi3 wheel."""
    if not any(tag.abi == "abi3" for tag in wheel.tags) or not wheel.extension_modules:
        return None
    return run(sys.executable, "-m", "abi3audit", "--strict", str(wheel.path)).returncode == 0


def limits_of_abi3audit(wheel: Wheel) -> Iterator[tuple[str, bool]]:
    """The oldest interpreter that abi3audit accepts, and the version before it."""
    if abi3audit(wheel) is None:
        return
    with tempfile.TemporaryDirectory(dir=wheel.path.parent) as directory:
        # abi3audit starts with the version in the tag.
        stem, _, abi, platform = wheel.path.name.rsplit("-", 3)
        copy = Path(directory, f"{stem}-cp32-{abi}-{platform}")
        copy.hardlink_to(wheel.path)
        report = json.loads(run(sys.executable, "-m", "abi3audit", "--report", str(copy)).stdout)
    (answer,) = report["specs"].values()
    major, minor = max(tuple(map(int, file["result"]["computed"].split("."))) for file in answer["wheel"])
    yield f"cp{major}{minor}", True
    if (major, minor) > (3, 2):
        yield f"cp{major}{minor - 1}", False


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "500"}
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900, env=environment)


#: For each tool: whether it accepts a wheel, and the codes of the checks that must agree.
TOOLS = {
    "auditwheel": (auditwheel, ("WHL301",)),
    "delocate": (delocate, ("WHL401",)),
    "abi3audit": (abi3audit, ("WHL607", "WHL608")),
}
#: For each tool: the platforms or interpreters that it just accepts and just refuses, and the code that must agree.
LIMITS = {
    "auditwheel": (limits_of_auditwheel, "WHL301"),
    "delocate": (limits_of_delocate, "WHL401"),
    "abi3audit": (limits_of_abi3audit, "WHL607"),
}


# One wheel --------------------------------------------------------------------------------------------------------------


def compare(listed: Listed, path: Path, store: Path) -> Iterator[tuple[str, str]]:
    """Run the checks and the other tools on a wheel; yield the kind and text of each result."""
    started = time.perf_counter()
    wheel = open_wheel(path, shown=listed.file, store=store)
    results = run_checks(wheel)
    yield "seconds", f"{time.perf_counter() - started:.2f}"
    yield "checks", str(len(results))
    findings = all_findings(results)
    errors = {finding.code for finding in findings if finding.severity is Severity.ERROR}
    for result in results:
        if result.error:
            yield "wrong", f"{listed.file}: {result.check.name} raised: {result.error.strip().splitlines()[-1]}"
        if result.skip_reason:
            yield "skipped", f"{listed.file}: {result.check.name}"
    for finding in findings:
        if finding.severity is Severity.WARNING:
            yield "warning", f"{listed.file}: {finding.code}"
        else:
            yield "error", f"{listed.file}: {finding.code}: {finding.message}"
    for code in sorted(errors - set(listed.explained)):
        yield "wrong", f"{listed.file}: {code} is not explained in the list"
    for code in sorted(set(listed.explained) - errors):
        yield "wrong", f"{listed.file}: the list explains {code}, which was not found"
    for tool, (accepts, codes) in TOOLS.items():
        is_accepted = accepts(wheel)
        if is_accepted is None:
            continue
        found = {finding.code for finding in findings} & set(codes)
        agrees = is_accepted == (not found)
        yield ("agrees" if agrees else "differs"), tool
        if agrees is (tool in listed.differs):
            answer = "accepts" if is_accepted else "refuses"
            yield "wrong", f"{listed.file}: {tool} {answer} it, the checks find {', '.join(sorted(found)) or 'nothing'}"
        elif not agrees:
            yield "difference", f"{listed.file}: {tool}: {listed.differs[tool]}"


def compare_limits(listed: Listed, path: Path, store: Path) -> Iterator[tuple[str, str]]:
    """Give a wheel the tags that another tool just accepts and just refuses. The checks must draw the same line."""
    wheel = open_wheel(path, shown=listed.file, store=store)
    for tool, (limits, code) in LIMITS.items():
        for tag, is_accepted in limits(wheel):
            stem, python, abi, platform = listed.file.removesuffix(".whl").rsplit("-", 3)
            renamed = f"{stem}-{tag}-{abi}-{platform}.whl" if tag[:2] == "cp" else f"{stem}-{python}-{abi}-{tag}.whl"
            with tempfile.TemporaryDirectory(dir=store) as directory:
                copy = Path(directory, renamed)
                copy.hardlink_to(wheel.path)
                (result,) = run_checks(open_wheel(copy, shown=renamed, store=Path(directory)), select=[code])
            agrees = result.outcome is (Outcome.PASSED if is_accepted else Outcome.FAILED)
            yield (f"limit {'accepted' if is_accepted else 'refused'}" if agrees else "limit differs"), tool
            if not agrees and f"{tool} {tag}" not in listed.differs:
                answer = "accepts" if is_accepted else "refuses"
                yield "wrong", f"{renamed}: {tool} {answer} it, {code} {result.outcome.value}"
            elif not agrees:
                yield "difference", f"{renamed}: {tool}: {listed.differs[f'{tool} {tag}']}"


def all_findings(results: list[CheckResult]) -> list[Finding]:
    return [finding for result in results for finding in result.findings]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", type=Path, default=LIST)
    parser.add_argument("--offline", action="store_true", help="download nothing")
    given = parser.parse_args()
    wheels = [listed for listed in read_list(given.list) if not given.names or listed.name in given.names]
    directory = cache.root() / "corpus"
    if not given.offline:
        fetch(wheels, directory)
    missing = [listed.file for listed in wheels if not is_downloaded(listed, directory)]
    if missing:
        sys.exit("missing, or with another sha256: " + ", ".join(missing))
    results: dict[str, list[str]] = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as store, ThreadPoolExecutor(os.cpu_count()) as pool:

        def compare_all(listed: Listed) -> list[tuple[str, str]]:
            path = directory / listed.file
            return [*compare(listed, path, Path(store)), *compare_limits(listed, path, Path(store))]

        for answers in pool.map(compare_all, wheels):
            for kind, text in answers:
                results[kind].append(text)
                if kind in {"error", "wrong", "difference"}:
                    print(f"{kind}: {text}", flush=True)
    print(f"{len(wheels)} wheels of {len({listed.name for listed in wheels})} projects")
    print(f"{sum(map(int, results['checks']))} checks, {sum(map(float, results['seconds'])):.0f} s")
    for kind in ("error", "warning", "skipped"):
        texts = " ".join(text.partition(": ")[2] for text in results[kind])
        codes = collections.Counter(re.findall(r"WHL\d+", texts))
        print(f"{kind}: {len(results[kind])} {dict(sorted(codes.items())) or ''}")
    for tool in TOOLS:
        print(f"{tool}: agrees on {results['agrees'].count(tool)} wheels, differs on {results['differs'].count(tool)}")
        accepted, refused, differs = (
            results[f"limit {kind}"].count(tool) for kind in ("accepted", "refused", "differs")
        )
        print(f"  with its best tag {accepted} pass, with the next better one {refused} fail; {differs} differ")
    print(f"wrong: {len(results['wrong'])}")
    return int(bool(results["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
