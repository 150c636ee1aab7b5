"""What changed since the previous release: how it is found, and how reports say it."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
from builders import build_wheel
from test_native_sections import NATIVE
from test_report_page import Page, many_wheels
from test_report_schema import validate
from test_reporting import wheel

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.reporting import html, markdown
from pytest_wheelcheck.reporting.changes import (
    MAX_FILES,
    MAX_NAMES,
    FileChange,
    NameChange,
    WheelChanges,
    find_changes,
)
from pytest_wheelcheck.reporting.merge import merge
from pytest_wheelcheck.reporting.report import PreviousReport, Report, from_json, to_json
from pytest_wheelcheck.reporting.since import since
from pytest_wheelcheck.wheels.reader import open_wheel
from pytest_wheelcheck.wheels.sizes import read_sizes

TAG = "cp312-cp312-manylinux_2_17_x86_64"


def opened(folder: Path, version: str, files: dict[str, bytes | str], *, tag: str = TAG, **more: Any) -> Wheel:
    path = build_wheel(folder, "pkg", version, files, tags=(tag,), **more)
    return open_wheel(path, shown=path.name, store=folder / "store")


def compared(now: Wheel, before: Wheel) -> WheelChanges:
    return find_changes("pypi:pkg==1.0", now, before, read_sizes(now.path), read_sizes(before.path))


def noise(size: int) -> bytes:
    """Bytes that cannot be compressed."""
    return random.Random(size).randbytes(size)


def test_two_wheels_are_compared(tmp_path: Path) -> None:
    before = opened(
        tmp_path,
        "1.0",
        {
            "pkg/__init__.py": "",
            "pkg/old.py": "",
            "pkg/_core.cpython-312-x86_64-linux-gnu.so": noise(9000),
            "pkg/_fast.cpython-312-x86_64-linux-gnu.so": noise(5000),
            "pkg.libs/libz-0123abcd.so.1": noise(7000),
            "pkg-1.0.data/scripts/tool": "#!python",
        },
        requires=["numpy>=1.22", "six", "rich; extra == 'color'"],
        extras=["color"],
        entry_points="[console_scripts]\npkg-old = pkg:main\npkg-tool = pkg:main\n",
        requires_python=">=3.9",
    )
    now = opened(
        tmp_path,
        "1.1",
        {
            "pkg/__init__.py": "",
            "pkg/new.py": noise(600).hex(),
            "pkg/_core.abi3.so": noise(20_000),
            "pkg.libs/libz-4567cdef.so.1": noise(7000),
        },
        tag="cp312-cp312-manylinux_2_28_x86_64",
        requires=["numpy>=1.26", "attrs"],
        entry_points="[console_scripts]\npkg-tool = pkg:main\n",
        requires_python=">=3.10",
    )
    found = compared(now, before)
    assert [(name.kind, name.change, name.name, name.before, name.after) for name in found.names] == [
        ("native module", "gone", "pkg/_fast", "", ""),
        ("module", "gone", "pkg/old", "", ""),
        ("entry point", "gone", "pkg-old", "", ""),
        ("program", "gone", "tool", "", ""),
        ("dependency", "gone", "six", "", ""),
        ("extra", "gone", "color", "", ""),
        ("module", "new", "pkg/new", "", ""),
        ("dependency", "new", "attrs", "", ""),
        ("dependency", "changed", "numpy", "numpy>=1.22", "numpy>=1.26"),
        ("platform tag", "changed", "manylinux_x86_64", "manylinux_2_17", "manylinux_2_28"),
        ("Requires-Python", "changed", "Requires-Python", ">=3.9", ">=3.10"),
    ]
    # The suffix of the interpreter, a hash and the version are not another file; METADATA and RECORD have another size.
    assert [(file.path, file.change) for file in found.files] == [
        ("pkg/_core.abi3.so", "changed"),
        ("pkg/_fast.cpython-312-x86_64-linux-gnu.so", "gone"),
        ("pkg/new.py", "new"),
        ("pkg-1.0.data/scripts/tool", "gone"),
        ("pkg/old.py", "gone"),
    ]
    core = found.files[0]
    assert (core.previous_size, core.size) == (9000, 20_000)
    assert (found.new, found.gone) == (1, 3)
    assert (found.release, found.filename, found.previous_size) == ("pypi:pkg==1.0", before.path.name, before.size)
    assert found.unpacked_size == sum(entry.size for entry in now.contents)
    assert found.previous_unpacked_size == sum(entry.size for entry in before.contents)
    assert not compared(now, now).files
    assert not compared(now, now).names


def test_files_that_differ_only_in_a_hash_are_not_confused(tmp_path: Path) -> None:
    names = ("pkg/t-11111111.bin", "pkg/t-22222222.bin")
    before = opened(tmp_path, "1.0", dict.fromkeys(names, noise(5000)))
    now = opened(tmp_path, "1.1", {names[0]: noise(5000), "pkg/t-33333333.bin": noise(5000)})
    assert {(file.path, file.change) for file in compared(now, before).files} == {
        (names[1], "gone"),
        ("pkg/t-33333333.bin", "new"),
    }


def test_only_the_largest_changes_of_a_wheel_are_kept(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"pkg/m{number}.py": "x" * number for number in range(300)}
    found = compared(opened(tmp_path, "1.1", files), opened(tmp_path, "1.0", {"pkg/__init__.py": ""}))
    assert (found.new, found.gone) == (300, 1)
    assert len(found.files) == MAX_FILES
    assert (len(found.names), found.more_names) == (MAX_NAMES, 301 - MAX_NAMES)
    assert found.names[0].change == "gone", "what is gone is never left out for what is new"


# The release ----------------------------------------------------------------------------------------------------------


def released(before: list[str], now: list[str], **changes: WheelChanges) -> Report:
    previous = PreviousReport(
        release="pypi:pkg==1.0", project="pkg", wheels=tuple(f"pkg-1.0-{tag}.whl" for tag in before)
    )
    return Report(
        wheels=tuple(wheel(tag, size=3_000_000, changes=changes.get(tag.replace("-", "_"))) for tag in now),
        previous=(previous,),
    )


ALL = [f"cp3{minor}-cp3{minor}-{platform}" for minor in (11, 12) for platform in ("manylinux_2_17_x86_64", "win_amd64")]


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        (ALL, ALL, ["the same platforms and interpreters"]),
        (ALL, [tag.replace("2_17", "2_28") for tag in ALL], ["the same platforms and interpreters"]),
        (ALL, [tag for tag in ALL if "win" not in tag], ["platforms gone: win_amd64"]),
        (ALL, ALL[:2], ["interpreters gone: cp312"]),
        (ALL, ALL[:3], ["wheels gone: cp312 on win_amd64"]),
        (ALL, [*ALL, "cp311-cp311-win_arm64"], ["platforms new: win_arm64"]),
        (ALL, [*ALL, "cp313-cp313-win_amd64"], ["interpreters new: cp313"]),
        (ALL[:3], ALL, ["wheels new: cp312 on win_amd64"]),
        (ALL, [f"cp311-abi3-{tag[12:]}" for tag in ALL[:2]], ["interpreters new: cp311-abi3"]),
        (["no wheel"], ALL[:1], ["platforms new: manylinux_x86_64"]),
    ],
)
def test_what_a_release_covers(before: list[str], now: list[str], lines: list[str]) -> None:
    (found,) = since(released(before, now))
    assert [line.text for line in found.lines] == [*lines, "no wheel has a counterpart there"]
    assert [line.bad for line in found.lines][:-1] == ["gone" in line for line in lines]


def change_of(*names: NameChange, size: int = 2_000_000, files: int = 0) -> WheelChanges:
    return WheelChanges(
        release="pypi:pkg==1.0",
        filename="pkg-1.0.whl",
        previous_size=size,
        previous_unpacked_size=5_000_000,
        unpacked_size=5_000_000,
        changed=files,
        files=tuple(
            FileChange(path=f"pkg/{'d' * 60}/{number}.so", change="changed", size=10**6, compressed_size=500_000 - number,
                       previous_size=10**5, previous_compressed_size=50_000)
            for number in range(min(files, MAX_FILES))
        ),
        names=names,
    )  # fmt: skip


SCRIPT = NameChange(kind="entry point", change="gone", name="pkg-tool")
SPEED = NameChange(kind="native module", change="gone", name="pkg/_speed")
RAISED = NameChange(
    kind="platform tag",
    change="changed",
    name="manylinux_x86_64",
    before="manylinux_2_17",
    after="manylinux_2_28",
)
LOWERED = dataclasses.replace(RAISED, before=RAISED.after, after=RAISED.before)


def test_what_all_wheels_have_in_common_is_said_once() -> None:
    changes = {
        "cp311_cp311_manylinux_2_17_x86_64": change_of(SCRIPT, RAISED),
        "cp311_cp311_win_amd64": change_of(SCRIPT, SPEED, size=1_000_000),
    }
    (found,) = since(released(ALL, ALL, **changes))
    assert [line.text for line in found.common] == ["entry point gone: pkg-tool"]
    assert [[line.text for line in each.lines] for each in found.wheels] == [
        ["platform tag raised, so older systems cannot install it: manylinux_2_17 → manylinux_2_28"],
        ["native module gone: pkg/_speed"],
    ]
    assert [each.note for each in found.wheels] == ["platform tag raised", "3 times as large, native module gone"]
    assert found.wheels[0].text == "2.00 MB → 3.00 MB (+50 %); unpacked 5.00 MB, as before"
    total = "2 of 4 wheels with a counterpart, together: 3.00 MB → 6.00 MB (+100 %); unpacked 10.0 MB, as before"
    assert found.lines[-1].text == total


def test_a_tag_that_was_lowered_is_no_warning() -> None:
    (found,) = since(released(ALL, ALL, cp311_cp311_win_amd64=change_of(LOWERED)))
    assert found.common == ()
    assert found.wheels[0].note == ""
    assert found.wheels[0].lines[0].text == "platform tag changed: manylinux_2_28 → manylinux_2_17"


def test_ten_files_of_a_wheel_are_named() -> None:
    (found,) = since(released(ALL, ALL, cp311_cp311_win_amd64=change_of(files=MAX_FILES)))
    assert [line.text.partition(":")[0] for line in found.wheels[0].lines] == [
        "files",
        *(f"pkg/{'d' * 60}/{number}.so" for number in range(10)),
    ]


# Reports --------------------------------------------------------------------------------------------------------------


def test_reports_show_the_changes() -> None:
    report = released(ALL, ALL[:3], cp311_cp311_win_amd64=change_of(SPEED, files=2))
    page = html.render(report)
    text = " ".join(Page(page).text.replace("\u00a0", " ").split())
    assert '<section id="changes"><h2>Changes</h2>' in page
    assert "Compared with pypi:pkg==1.0: wheels gone: cp312 on win_amd64" in text
    assert "2.00 MB → 3.00 MB (+50 %); unpacked 5.00 MB, as before native module gone" in text
    assert "files: 2 with another size; the largest changes: pkg/ddd" in text
    assert "0.so: 50.0 kB → 500.0 kB (+900 %); unpacked 100.0 kB → 1.00 MB (+900 %)" in text
    assert '<details data-o="warning">' in page
    lines = markdown.render(report)
    assert "## Changes since pypi:pkg==1.0\n\n- **wheels gone: cp312 on win\\_amd64**\n" in lines
    assert "  - **native module gone: pkg/\\_speed**\n" in lines
    data = validate(to_json(report))
    assert data["previous"][0]["wheels"][0] == f"pkg-1.0-{ALL[0]}.whl"
    assert [each["changes"] is None for each in data["wheels"]] == [True, False, True]
    assert from_json(json.dumps(data), source="x") == report
    without = Report(wheels=report.wheels[:1])
    assert "Changes" not in html.render(without)
    assert "Changes" not in markdown.render(without)


def test_the_changes_of_sixty_wheels_are_short() -> None:
    names = [
        NameChange(kind="module", change=change, name=f"pkg/{change}/{number}")
        for change in ("new", "gone")
        for number in range(50)
    ]
    wheels = tuple(
        dataclasses.replace(each, contents=(NATIVE,) * 20, changes=change_of(*names, SPEED, files=300 + index))
        for index, each in enumerate(many_wheels(60, text="output\n" * 30, tests=9).wheels)
    )
    previous = PreviousReport(release="pypi:pkg==1.0", project="pkg", wheels=(f"pkg-1.0-{ALL[0]}.whl",))
    page = html.render(Report(wheels=wheels, previous=(previous,)))
    assert len(page.encode()) <= html.MAX_SIZE
    section = page.partition('<section id="changes">')[2].partition("</section>")[0]
    assert len(section) < 200_000
    for each in section.split("<details")[1:]:
        assert 8 <= each.count("<li") <= 20


def test_a_merge_keeps_the_changes() -> None:
    report = Report(wheels=(wheel(ALL[0], sha256="1", changes=change_of(SPEED)),), previous=released(ALL, ALL).previous)
    other = Report(wheels=(wheel(ALL[0], sha256="1"),))
    for reports in ((report, other), (other, report), (report, report)):
        merged = merge(reports)
        assert merged.wheels[0].changes == report.wheels[0].changes
        assert merged.previous == report.previous
