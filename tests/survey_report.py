"""The report of the survey: which wheels were tested, which nodes are red, and what explains them."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from survey_index import PLATFORMS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXPLANATIONS = Path(__file__).with_name("survey.toml")
#: What a class of red nodes can be, and the heading of its table.
VERDICTS = {
    "fault": "Faults of published wheels",
    "limit": "What could not be checked",
    "bug": "Open bugs of pytest-wheelcheck",
}
#: Number of wheels that a row of a table names.
NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A class of red nodes with one cause.

    :param title: what is wrong, one line.
    :param verdict: one of :data:`VERDICTS`.
    :param evidence: how this was established.
    :param node: regular expression, searched in the node's name.
    :param text: regular expression, searched in the node's text.
    :param projects: the projects for which this was established; empty for all.
    """

    title: str
    verdict: str
    evidence: str
    node: str = ""
    text: str = ""
    projects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.title}: no such verdict: {self.verdict}")
        if not self.node and not self.text:
            raise ValueError(f"{self.title}: explains every node")

    def matches(self, red: Red) -> bool:
        """Whether a red node belongs to this class."""
        return (
            (not self.projects or red.project in self.projects)
            and re.search(self.node, red.node) is not None
            and re.search(self.text, red.text) is not None
        )


@dataclass(frozen=True, kw_only=True)
class Red:
    """A red node of one wheel.

    :param wheel: project, version and platform.
    """

    series: str
    project: str
    wheel: str
    node: str
    text: str


@dataclass(kw_only=True)
class Series:
    """The results of one state directory: the same steps on releases of the same age."""

    name: str
    states: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reds: list[Red] = field(default_factory=list)
    projects: set[str] = field(default_factory=set)


def read_explanations(path: Path) -> list[Explanation]:
    """Read the list of explanations."""
    with path.open("rb") as stream:
        entries = tomllib.load(stream).get("class", [])
    return [Explanation(**{**entry, "projects": tuple(entry.get("projects", ()))}) for entry in entries]


def read_series(directory: Path) -> Series:
    """Read all results of a series."""
    series = Series(name=directory.name)
    for path in sorted(directory.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        reds = list(red_nodes(result, series.name))
        state = result["state"] if result["state"] != "tested" else "red" if reds else "clean"
        series.states[result["platform"]][state] += 1
        series.reds += reds
        if result["state"] == "tested":
            series.projects.add(result["project"])
    return series


def red_nodes(result: dict[str, Any], series: str) -> Iterator[Red]:
    """Yield the red nodes of a result. A run that did not end normally is one, too."""
    nodes = list(result.get("red", ()))
    if "output" in result:
        nodes.append({"node": result["state"], "text": result["output"]})
    wheel = f"{result['project']} {result.get('version', '')} {result['platform']}"
    for node in nodes:
        yield Red(series=series, project=result["project"], wheel=wheel, node=node["node"], text=node["text"])


def print_report(state: Path, explanations: Path) -> int:
    """Print the report as Markdown.

    :return: 1 if a red node is not explained, else 0.
    """
    classes = read_explanations(explanations)
    all_series = [read_series(path) for path in sorted(state.iterdir()) if path.is_dir()]
    print_coverage(all_series)
    explained: dict[str, list[Red]] = defaultdict(list)
    unexplained: list[Red] = []
    for red in (red for series in all_series for red in series.reds):
        reason = next((entry for entry in classes if entry.matches(red)), None)
        (explained[reason.title] if reason else unexplained).append(red)
    for verdict, heading in VERDICTS.items():
        chosen = [entry for entry in classes if entry.verdict == verdict and entry.title in explained]
        if chosen:
            print(f"\n## {heading}\n\n| class | wheels | evidence |\n| --- | --- | --- |")
        for entry in chosen:
            print(f"| {cell(entry.title)} | {wheels_of(explained[entry.title])} | {cell(entry.evidence)} |")
    if unexplained:
        print(f"\n## Not explained\n\n{len(unexplained)} red nodes.\n")
        for (node, text), reds in group(unexplained):
            print(f"- `{node}`: {text}: {wheels_of(reds)}")
    return int(bool(unexplained))


def print_coverage(all_series: list[Series]) -> None:
    """Print how many wheels each series has, by platform."""
    print("| series | platform | wheels | without red nodes | with red nodes | not ended | no wheel | too large |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for series in all_series:
        for platform in (platform for platform in PLATFORMS if platform in series.states):
            states = series.states[platform]
            ended, broken = states["clean"] + states["red"], states["timeout"] + states["no report"]
            numbers = [ended + broken, states["clean"], states["red"], broken, states["no wheel"], states["too large"]]
            print(f"| {series.name} | {platform} | {' | '.join(map(str, numbers))} |")


def group(reds: list[Red]) -> list[tuple[tuple[str, str], list[Red]]]:
    """Group red nodes by the kind of the node and the kind of the message, the largest groups first."""
    groups: dict[tuple[str, str], list[Red]] = defaultdict(list)
    for red in reds:
        groups[kind_of_node(red.node), kind_of_text(red.text)].append(red)
    return sorted(groups.items(), key=lambda entry: -len(entry[1]))


def kind_of_node(node: str) -> str:
    """Return the code of a check, or the step of a target without the module's name."""
    step = node.rpartition("::")[2]
    return re.sub(r"\[.*", "", step)


def kind_of_text(text: str) -> str:
    """Return the line of a message that says what happened, without names and numbers."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(E\s+)?\w*(Error|Exception|Warning)\b", line)]
    line = (errors or lines or [""])[0]
    return re.sub(r"[\w./+@-]*[/.\d][\w./+@-]*", "*", line)[:160]


def wheels_of(reds: list[Red]) -> str:
    """Name the wheels of some red nodes, with the platforms of each release together."""
    releases: dict[str, list[str]] = defaultdict(list)
    for wheel in dict.fromkeys(red.wheel for red in reds):
        release, _, platform = wheel.rpartition(" ")
        releases[release].append(platform)
    names = [f"{release} ({', '.join(platforms)})" for release, platforms in releases.items()]
    more = f" and {len(names) - NAMED} more releases" if len(names) > NAMED else ""
    return cell("; ".join(names[:NAMED]) + more)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
