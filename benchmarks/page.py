"""Writes the results of whole_runs.py into docs/performance.md, between markers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import growth
import release
import waterfalls


def write(text: str, results: dict[str, Any]) -> str:
    """Return the text of a page with the tables of a run; a part that the run did not measure stays as it is."""
    tables: dict[str, list[str]] = {"environment": list(environment_lines(results["environment"]))}
    if results["cases"]:
        tables["cases"] = list(case_lines(results["cases"]))
        tables["waterfalls"] = list(waterfalls.lines(results["cases"]))
    if results["release"]:
        tables["release"] = list(release.lines(results["release"]))
    if results["growth"]:
        tables["growth"] = list(growth.lines(results["growth"]))
    for name, lines in tables.items():
        text = replace_between(text, name, lines)
    return text


def replace_between(text: str, name: str, lines: Sequence[str]) -> str:
    """Replace what is between the two markers of a name.

    :raises ValueError: there are no such markers.
    """
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    found, number = re.subn(
        rf"({re.escape(begin)}\n).*?({re.escape(end)})",
        lambda match: f"{match[1]}\n" + "".join(f"{line}\n" for line in lines) + f"\n{match[2]}",
        text,
        flags=re.DOTALL,
    )
    if number != 1:
        raise ValueError(f"the page has {number} places for {name}, not one")
    return found


def environment_lines(environment: dict[str, str]) -> Iterator[str]:
    """Yield the lines of the table of versions."""
    yield "| what | value |"
    yield "| --- | --- |"
    for name, value in environment.items():
        yield f"| {name} | {value} |"


def case_lines(cases: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table of cases."""
    yield "| case | this plugin | against | ratio (spread) | goal |"
    yield "| --- | --- | --- | --- | --- |"
    for case in cases:
        yield case_line(case)


def case_line(case: dict[str, Any]) -> str:
    """Return the line of one case."""
    ratio = f"{case['ratio']:.2f} ({case['ratios'][0]:.2f} to {case['ratios'][-1]:.2f})"
    missed = "" if case["ratio"] <= case["goal"] else ", missed"
    return (
        f"| {case['title']} | {case['ours']:.2f} s | {case['against']}: {case['other']:.2f} s "
        f"| {ratio} | {case['goal']:g}{missed} |"
    )
