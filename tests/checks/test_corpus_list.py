"""The list of published wheels is complete. The wheels themselves are fetched by tests/corpus.py."""

from __future__ import annotations

import re
from collections import Counter

from corpus import LIST, TOOLS, read_list

from pytest_wheelcheck.checks import CHECKS
from pytest_wheelcheck.wheels.reader import parse_name

LISTED = read_list(LIST)


def test_every_line_names_one_wheel_by_its_digest() -> None:
    assert len({wheel.file for wheel in LISTED}) == len({wheel.sha256 for wheel in LISTED}) == len(LISTED) >= 100
    for wheel in LISTED:
        name, version, _, _ = parse_name(wheel.file)
        assert (name.replace("_", "-").lower(), version) == (wheel.name, wheel.version)
        assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)


def test_all_systems_and_all_kinds_of_tags() -> None:
    tags = [tag for wheel in LISTED for tag in parse_name(wheel.file)[3]]
    systems = Counter(re.match(r"[a-z]+", tag.platform)[0] for tag in tags)  # type: ignore[index]
    assert all(systems[system] >= 10 for system in ("manylinux", "musllinux", "macosx", "win"))
    assert {"abi3", "none", "cp314t", "cp312", "pypy311_pp73"} <= {tag.abi for tag in tags}
    machines = (
        "x86_64",
        "i686",
        "aarch64",
        "armv7l",
        "ppc64le",
        "s390x",
        "riscv64",
        "arm64",
        "universal2",
        "amd64",
        "win32",
    )
    for machine in machines:
        assert any(tag.platform.endswith(machine) for tag in tags), machine


def test_explanations_name_checks_and_tools() -> None:
    codes = {check.code for check in CHECKS}
    for wheel in LISTED:
        assert set(wheel.explained) <= codes
        assert {tool.partition(" ")[0] for tool in wheel.differs} <= set(TOOLS)
