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
import waterfall_plots
import waterfalls
from materials import MANY, PYTEST, PYTHON, Materials
from measuring import MeasurementError, Usage, family, run
from sides import Ours

ROOT = Path(__file__).parent.parent
PAGE = "before\n<!-- measured: cases -->\nold\n<!-- end -->\nbetween\n<!-- measured: growth -->\n<!-- end -->\n"


def points(*seconds: float) -> list[tuple[int, Usage]]:
    sizes = (1, 10, 100, 1000)
    return [(sizes[number], Usage(seconds=value, controller=50, tree=90)) for number, value in enumerate(seconds)]


def axis(*seconds: float) -> dict[str, Any]:
    return growth.result("growth-tests", "trivial <tests>", points(*seconds))


def steps(**times: tuple[float, float]) -> list[dict[str, Any]]:
    return [{"name": name, "start": start, "end": end} for name, (start, end) in times.items()]


def target(name: str, *, checks: tuple[float, float] = (0.5, 0.9)) -> dict[str, Any]:
    """Return a wheel with one target, whose worker was started twice."""
    found = steps(install=(0.5, 1), imports=(1, 2), boot=(1, 3), tests=(3, 8))
    found.insert(3, {"name": "boot", "start": 5, "end": 6})
    return {"name": f"{name}.whl", "steps": steps(checks=checks), "targets": [{"name": name, "steps": found}]}


#: A run of ten seconds: one before the plugin, eight until the last step ended, and one after it.
FOUND = {
    "seconds": 10.0,
    "processor": 12.5,
    "before": 1.0,
    "after": 1.0,
    "step": "",
    "run": steps(plan=(0, 0.4)),
    "wheels": [target("cp313")],
}


def measured(**more: Any) -> dict[str, Any]:
    case = {"name": "name", "title": "`ours`", "against": "`theirs`", "ours": 2, "other": 1, "ratio": 2, "goal": 1.5}
    return {**case, "ratios": [1.5, 2, 3], "processor": [2.5, 0.75], **more}


def drawn(found: dict[str, Any], other: float = 4) -> dict[str, list[tuple[float, float]]]:
    """Return the bars of a picture by their rows, in tenths of its axis."""
    image = ET.fromstring(waterfall_plots.draw(measured(waterfall=found, other=other)))
    nodes = [node for node in image.iter() if node.tag.endswith(("text", "rect"))]
    bars: dict[str, list[tuple[float, float]]] = {}
    title = ""
    for node in nodes:
        if node.tag.endswith("text"):
            title = node.text if node.attrib["x"] == "8" and node.text else title
        elif node.attrib["class"] != "back":
            x, width = (float(node.attrib[name]) for name in ("x", "width"))
            start, end = ((position - 172) / (556 - 172) * 10 for position in (x, x + width))
            bars.setdefault(title, []).append((round(start, 1), round(end, 1)))
    return bars


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
    results = {
        "environment": {"CPython": "3.13.1"},
        "cases": [measured(waterfall=FOUND)],
        "release": {"wheels": 60, "targets": 12, "emulated": 4, "one": 50.0, "shards": [20.0, 30.0], "merge": 1.0},
        "growth": [axis(1, 10, 100)],
    }
    text = page.write((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), results)
    assert "| CPython | 3.13.1 |" in text
    assert "![The steps of the run, and the other side: ours](waterfall-name.svg)" in text
    assert "| `ours` | 2.00 s | `theirs`: 1.00 s | 2.00 (1.50 to 3.00) | 1.5, missed |" in text
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


def test_the_steps_of_a_run_and_what_is_around_them_are_measured(tmp_path: Path) -> None:
    materials = Materials(tmp_path)
    argv = (*PYTEST, f"--wheel={materials.demo}", PYTHON, "tests")
    found = waterfalls.measure(Ours(argv=argv, cwd=materials.project("one", MANY.format(3))), tmp_path)
    (_, run_steps), (name, target_steps) = waterfalls.groups(found)
    assert [step["name"] for step in run_steps] == ["plan", "checks"]
    assert "::" not in name
    assert {"install", "imports", "boot", "tests"} <= {step["name"] for step in target_steps}
    # Python, pytest and the modules of the plugin are loaded before, and the report is written after.
    assert 0.05 < found["before"] < found["seconds"]
    last = max(step["end"] for step in target_steps)
    assert 0 < found["after"] < found["seconds"] - found["before"] - last + 0.001
    assert found["before"] + last + found["after"] == pytest.approx(found["seconds"])
    if sys.platform != "win32":  # whose children have no processor time
        assert found["processor"] > 0.1


def test_a_picture_has_the_steps_between_what_is_before_and_after_them() -> None:
    assert drawn(FOUND) == {
        "the other side": [(0, 4)],
        "the whole run": [(0, 10)],
        "before the plugin": [(0, 1)],
        "plan": [(1, 1.4)],
        "static checks": [(1.5, 1.9)],
        "after the last step": [(9, 10)],
        "installation": [(1.5, 2)],
        "import check": [(2, 3)],
        "start of pytest": [(2, 4), (6, 7)],
        "tests": [(4, 9)],
    }


def test_steps_of_several_workers_are_side_by_side_and_their_seconds_count_once() -> None:
    run_steps = [*steps(plan=(0, 2)), *steps(plan=(1, 4)), *steps(plan=(5, 6))]
    text = waterfall_plots.draw(measured(waterfall={**FOUND, "run": run_steps, "wheels": []}))
    nodes = list(ET.fromstring(text))
    title = next(number for number, node in enumerate(nodes) if node.text == "plan")
    first, third, second, seconds = nodes[title + 1 : title + 5]
    assert first.attrib["y"] == third.attrib["y"]
    assert float(second.attrib["y"]) >= float(first.attrib["y"]) + float(first.attrib["height"])
    assert seconds.text == "5.00 s"


def test_where_a_step_is_compared_the_other_side_begins_with_it() -> None:
    assert drawn({**FOUND, "step": "imports"})["the other side"] == [(2, 6)]


def test_the_axis_is_as_long_as_the_other_side() -> None:
    assert drawn(FOUND, other=20)["the whole run"] == [(0, 5)]


def test_the_checks_of_a_wheel_are_with_its_only_target() -> None:
    names = [(name, [step["name"] for step in found]) for name, found in waterfalls.groups(FOUND)]
    several = {**FOUND, "wheels": [target("a"), target("b"), {**target("c"), "targets": []}]}
    assert names == [("", ["plan", "checks"]), ("cp313", ["install", "imports", "boot", "boot", "tests"])]
    assert [(name, found[0]["name"], len(found)) for name, found in waterfalls.groups(several)] == [
        ("", "plan", 1),
        ("a", "checks", 6),
        ("b", "checks", 6),
        ("c.whl", "checks", 1),
    ]


def test_a_picture_of_many_steps_is_small_and_in_its_frame() -> None:
    targets = [target(f"cp31{number}")["targets"][0] for number in range(10)]
    many = {**FOUND, "wheels": [{**target("cp313"), "targets": targets}]}
    against = " ".join(["a <long> name of the other side"] * 4)
    text = waterfall_plots.draw(measured(waterfall=many, against=against))
    assert len(text) < 20_000
    image = ET.fromstring(text)
    width, height = (float(image.attrib[name]) for name in ("width", "height"))
    places = [node.attrib for node in image.iter() if "y" in node.attrib]
    assert all(0 < float(place["x"]) < width and 0 < float(place["y"]) < height for place in places)
    assert len([place for place in places if place.get("class") == "step"]) == 3 + 10 * 5
    titles = [node.text or "" for node in image.iter() if node.get("class") == "title"]
    assert max(map(len, titles)) <= 60
    assert " ".join(titles).startswith(f"{against} this plugin cp310 cp311 ")


def test_pictures_that_a_case_no_longer_has_are_removed(tmp_path: Path) -> None:
    for name in ("growth.svg", "waterfall-met.svg", "waterfall-renamed.svg", "waterfall-name.svg"):
        (tmp_path / name).write_text("old")
    waterfall_plots.write(tmp_path, [measured(waterfall=FOUND), measured(name="met")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth.svg", "waterfall-name.svg"]
    assert (tmp_path / "waterfall-name.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_page_says_what_both_sides_of_a_picture_used() -> None:
    whole = list(waterfalls.lines([measured(waterfall=FOUND), measured(ratio=1)]))
    assert whole[0] == "Of 2 ratios, 1 is above the goal."
    assert whole[2] == (
        "**`ours`.** The run in the picture took 10.00 s and 12.50 s of processor time; the other side (`theirs`) 1.00 s "
        "and 0.75 s of processor time."
    )
    part = list(waterfalls.lines([measured(waterfall={**FOUND, "step": "boot"}, processor=[None, None])]))
    assert part[2].endswith("; what is compared took 2.00 s, the other side (`theirs`) 1.00 s.")


@pytest.mark.parametrize(("ratio", "needed"), [(1.4, False), (1.5, False), (1.51, True)])
def test_every_ratio_above_its_goal_needs_a_picture(ratio: float, needed: bool) -> None:
    assert waterfalls.needed(measured(ratio=ratio)) is needed
