"""What the benchmarks compute and write from their measurements."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import growth
import page
import plots
import pytest
from measuring import MeasurementError, Usage, family, run

ROOT = Path(__file__).parent.parent
PAGE = "before\n<!-- measured: cases -->\nold\n<!-- end -->\nbetween\n<!-- measured: growth -->\n<!-- end -->\n"


def points(*seconds: float) -> list[tuple[int, Usage]]:
    sizes = (1, 10, 100, 1000)
    return [(sizes[number], Usage(seconds=value, controller=50, tree=90)) for number, value in enumerate(seconds)]


def axis(*seconds: float) -> dict[str, Any]:
    return growth.result("growth-tests", "trivial <tests>", points(*seconds))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param((1, 10, 100), 1.0, id="linear"),
        pytest.param((1, 1, 1), 0.0, id="constant"),
        pytest.param((1, 100, 10_000), 2.0, id="quadratic"),
        pytest.param((1, 100, 100), 0.0, id="the last two sizes count"),
    ],
)
def test_growth_is_measured_between_the_last_two_sizes(seconds: tuple[float, ...], expected: float) -> None:
    assert axis(*seconds)["exponents"] == {"seconds": pytest.approx(expected), "controller": 0.0, "tree": 0.0}


@pytest.mark.parametrize(("last", "met"), [(100.0, True), (150.0, True), (170.0, False)])
def test_time_that_grows_faster_than_linearly_fails(last: float, met: bool) -> None:
    assert axis(1.0, 10.0, last)["met"] is met


def test_memory_that_grows_faster_than_linearly_fails() -> None:
    usages = [Usage(seconds=1, controller=1, tree=size**2) for size in (1, 10)]
    assert not growth.result("name", "unit", list(zip((1, 10), usages, strict=True)))["met"]


def test_tables_replace_what_is_between_their_markers() -> None:
    text = page.replace_between(PAGE, "cases", ["| new |"])
    assert text.startswith("before\n<!-- measured: cases -->\n\n| new |\n\n<!-- end -->\nbetween\n")
    assert page.replace_between(text, "cases", ["| new |"]) == text


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places for release"):
        page.replace_between(PAGE, "release", [])


def test_the_page_has_a_place_for_every_table() -> None:
    case = {"title": "ours", "against": "theirs", "ours": 2, "other": 1, "ratio": 2, "ratios": [1.5, 2, 3], "goal": 1.5}
    results = {
        "environment": {"CPython": "3.13.1"},
        "cases": [case],
        "release": {"wheels": 60, "targets": 12, "emulated": 4, "one": 50.0, "shards": [20.0, 30.0], "merge": 1.0},
        "growth": [axis(1, 10, 100)],
    }
    text = page.write((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), results)
    assert "| CPython | 3.13.1 |" in text
    assert "| ours | 2.00 s | theirs: 1.00 s | 2.00 (1.50 to 3.00) | 1.5, missed |" in text
    assert "| 2 shards and `wheelcheck merge` | 31.0 s | 51.0 s |" in text
    assert "| 100 trivial <tests> | 100.00 s | 50 MB | 90 MB | time 1.00, controller 0.00, all 0.00 |" in text


def test_a_picture_has_all_points_within_its_panels() -> None:
    image = ET.fromstring(plots.draw([axis(0.9, 10, 100), axis(1, 1, 1, 1000)]))
    width, height = float(image.attrib["width"]), float(image.attrib["height"])
    circles = [node.attrib for node in image.iter() if node.tag.endswith("circle")]
    # Time, controller and all processes.
    assert len(circles) == 3 * (3 + 4)
    assert all(0 < float(circle["cx"]) < width and 0 < float(circle["cy"]) < height for circle in circles)
    paths = [node.attrib["d"] for node in image.iter() if node.tag.endswith("path")]
    # Time of the first axis: it grows, so its points are higher and higher.
    heights = [float(match) for match in re.findall(r" ([\d.]+)(?= L|$)", paths[0])]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_memory_of_children_counts_as_that_of_all_processes(tmp_path: Path) -> None:
    child = "import time; data = b'x' * 60_000_000; time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    usage = run([sys.executable, "-c", code], tmp_path, memory=True)
    assert usage.controller < 40
    assert 60 < usage.tree < 140
    assert usage.seconds > 1


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
def test_the_family_of_a_process_has_its_grandchildren() -> None:
    with subprocess.Popen(["sh", "-c", "(cat; true); true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"started")
        process.stdin.flush()
        process.stdout.read(7)
        assert len(family(process.pid)) == 3


def test_a_measured_program_that_fails_is_an_error_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"exit status 3 of .*\nwhy"):
        run([sys.executable, "-c", "import sys; print('why'); sys.exit(3)"], tmp_path)
