"""The parts that the page of a report is made of. Every text is escaped here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from pytest_wheelcheck.reporting.markdown import SIGNS
from pytest_wheelcheck.reporting.report import BAD, NodeResult
from pytest_wheelcheck.system.sizes import show_size

#: Colors and other sequences for terminals.
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: Characters that are invisible, change the direction of text, or cannot be written in UTF-8.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")

#: A space at which no line ends.
NEXT: Final = "\u00a0"

#: What the filter of the page distinguishes.
FAILED, WARNING, SKIPPED, PASSED = STATES = ("failed", "warning", "skipped", "passed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much of a report is on the page.

    :param text: characters of the text of a node.
    :param name: characters of a name.
    :param nodes: nodes of a wheel or target that are listed one by one.
    :param tests: rows of the table of tests.
    :param steps: rows of the waterfall.
    :param files: files of a wheel that are drawn.
    :param changes: lines about the changes in a wheel.
    :param sections: sections of native files that are drawn, in all wheels together.
    """

    text: int = 4000
    name: int = 300
    nodes: int = 100
    tests: int = 1000
    steps: int = 300
    files: int = 60
    changes: int = 20
    sections: int = 1500


#: What is on the page, and on the page of a report that would be too large otherwise.
LIMITS: Final = (
    Limits(),
    # Of drawings, less is lost than of texts.
    Limits(files=16, sections=600),
    Limits(text=1500, nodes=30, tests=400, files=16, changes=12, sections=600),
    Limits(text=500, nodes=12, tests=200, steps=150, files=12, changes=8, sections=240),
    Limits(text=200, name=150, nodes=4, tests=100, steps=60, files=6, changes=4, sections=0),
)


def show(text: str, limit: int = 0) -> str:
    """Return a text for the page, with characters that are not seen as escape sequences.

    :param limit: characters above which the middle is left out, and the text says so; 0 for any number.
    """
    seen = _TERMINAL.sub("", text)
    omitted = len(seen) - limit
    if limit and omitted > 0:
        seen = (
            f"{seen[: limit * 2 // 3]}\n[{omitted} characters omitted; the JSON report has more]\n{seen[-limit // 3 :]}"
        )
    return escape(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", seen))


def show_name(text: str, limits: Limits) -> str:
    """Return a name for the page; the middle of a long one is left out."""
    one_line = " ".join(text.split())
    if len(one_line) > limits.name:
        one_line = f"{one_line[: limits.name * 2 // 3]} … {one_line[-limits.name // 3 :]}"
    return show(one_line)


def code(text: str, limits: Limits) -> str:
    """Return a name as code."""
    return f"<code>{show_name(text, limits)}</code>"


def mark(state: str, text: str) -> str:
    """Return a text in the color of a state."""
    return f'<span class="mark {state}">{show(SIGNS.get(state, "") + text)}</span>' if text else ""


def state_of(result: NodeResult) -> str:
    """Return the state of a result, for colors and the filter."""
    if result.outcome in BAD:
        return FAILED
    if result.warnings:
        return WARNING
    return SKIPPED if result.outcome in {"skipped", "xfailed"} else PASSED


def pasted(command: str) -> str:
    """Return a command with its place for a button that copies it."""
    return f'<p class="cmd"><code>{show(command)}</code></p>' if command else ""


def node(result: NodeResult, limits: Limits, *, link: str = "", command: str = "") -> Iterator[str]:
    """Yield an item of a list: a result with its text and its warnings.

    :param link: to the explanation of a check; empty without one.
    """
    state = state_of(result)
    yield f'<li data-o="{state}">{mark(state, result.outcome)} {code(result.name, limits)}'
    if link:
        yield f' <a href="#{show(link)}">explanation</a>'
    if result.text and (state == FAILED or result.outcome not in {"skipped", "passed"} or "\n" in result.text):
        yield f"<pre>{show(result.text, limits.text)}</pre>"
    elif result.text:
        yield f" {show(result.text, limits.text)}"
    for text in result.warnings[: limits.nodes]:
        yield f"<p>{mark(WARNING, 'warning')} {show(text, limits.text)}</p>"
    yield from more(len(result.warnings) - limits.nodes, "warning", "p")
    if state == FAILED:
        yield pasted(command)
    yield "</li>"


def more(number: int, noun: str, tag: str) -> Iterator[str]:
    """Yield an element that says how many things are left out."""
    if number > 0:
        yield f'<{tag} class="soft">and {count(number, f"more {noun}")}, which the JSON report has</{tag}>'


def count(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Return a number of bytes in the unit that fits, on one line."""
    return show_size(number).replace(" ", NEXT)
