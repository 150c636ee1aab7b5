"""The report as one HTML file that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from pytest_wheelcheck.reporting.markdown import SIGNS, counts, title, verdict
from pytest_wheelcheck.reporting.matrix import COLUMNS, Row, place_state, rows
from pytest_wheelcheck.reporting.report import BAD, File, Node, Report

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2328; --soft: #5c6670; --line: #d9dee3; --back: #ffffff; --band: #f5f7f9;
  --good: #1a7f42; --good-back: #e3f5e9; --bad: #b3261e; --bad-back: #fdeceb; --some: #8a5a00; --some-back: #fdf3dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b0; --line: #333b43; --back: #14181c;
  --band: #1b2126; --good: #6fd394; --good-back: #16301f; --bad: #ff9c94; --bad-back: #3a1917; --some: #e8bd63;
  --some-back: #332812; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 2rem 1.5rem 4rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p.verdict { display: inline-block; margin: 0; padding: .3rem .8rem; border-radius: 1rem; font-weight: 600; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .4rem .6rem; text-align: left; vertical-align: top; }
thead th { background: var(--band); font-weight: 600; font-size: .85rem; color: var(--soft); white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); } tbody th { font-weight: 600; white-space: nowrap; }
tbody tr.same { border-top-color: transparent; } td { font-variant-numeric: tabular-nums; }
code, pre { font: .86em/1.45 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
.mark { display: inline-block; padding: .05rem .5rem; border-radius: .35rem; white-space: nowrap; }
td .mark { white-space: normal; min-width: 5rem; }
.passed, .yes { color: var(--good); background: var(--good-back); } .yes { background: none; padding-left: 0; }
.failed, .error, .missing { color: var(--bad); background: var(--bad-back); font-weight: 600; }
.imported, .skipped, .warning { color: var(--some); background: var(--some-back); } .no { color: var(--soft); }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
summary { cursor: pointer; padding: .5rem .8rem; }
details > div { padding: 0 .8rem .8rem; } summary .mark { margin-left: .4rem; font-size: .85em; }
ul { margin: .3rem 0; padding-left: 1.2rem; } li { margin: .3rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; padding: .6rem .8rem; border-radius: .35rem;
  background: var(--band); max-height: 24rem; overflow-y: auto; }
.soft { color: var(--soft); overflow-wrap: anywhere; } footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
"""


def render(report: Report, missing: Sequence[tuple[str, str]] = ()) -> str:
    """Write a report.

    :param missing: as :func:`~pytest_wheelcheck.reporting.matrix.rows` takes it.
    """
    text = verdict(report)
    good = "nothing failed" in text and report.complete
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Wheels: {escape(title(report))}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title(report))}</h1>",
        f'<p class="verdict {"passed" if good else "failed"}">{escape(text)}</p>',
        "<h2>Coverage</h2>",
        *_table(rows(report, missing)),
    ]
    if report.release:
        lines += ["<h2>The release</h2>", "<ul>", *(line for node in report.release for line in _node(node)), "</ul>"]
    lines += ["<h2>Wheels</h2>", *(line for file in report.files for line in _file(file))]
    lines += [f"<footer>Written by {escape(report.program or 'pytest-wheelcheck')}.</footer>", "</body></html>"]
    return "\n".join(lines) + "\n"


def _table(found: Sequence[Row]) -> Iterator[str]:
    heads = "".join(f"<th>{escape(name)}</th>" for name in ("platform", "interpreter", *COLUMNS))
    yield f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>'
    last = ""
    for row in found:
        same = row.platform == last
        last = row.platform
        cells = "".join(f"<td>{_mark(mark.state, mark.text)}</td>" for mark in row.marks)
        yield (
            f'<tr class="{"same" if same else "new"}" title="{escape(", ".join(row.files))}">'
            f"<th>{'' if same else escape(row.platform)}</th><td><code>{escape(row.interpreter)}</code></td>{cells}</tr>"
        )
    yield "</tbody></table></div>"


def _mark(state: str, text: str) -> str:
    return f'<span class="mark {state}">{escape(SIGNS.get(state, "") + text)}</span>' if text else ""


def _file(file: File) -> Iterator[str]:
    bad = [node for node in file.checks if node.outcome in BAD]
    warned = [(node, text) for node in file.checks for text in node.warnings]
    failed = bool(bad) or any(node.outcome in BAD for place in file.places for node in place.nodes)
    failed = failed or any(one.outcome in BAD for one in file.untested)
    yield f"<details{' open' * failed}><summary><code>{escape(file.file)}</code>"
    yield _mark(
        "failed" if bad else "passed" if file.checks else "no",
        f"{len(file.checks)} check{'s' * (len(file.checks) != 1)}" if file.checks else "",
    )
    yield _mark("warning", f"{len(warned)} warning{'s' * (len(warned) != 1)}" if warned else "")
    for place in file.places:
        state, text = place_state(place)
        yield _mark(state, f"{place.name}: {text}")
    yield "</summary><div>"
    if file.sha256:
        yield f'<p class="soft">sha256 <code>{escape(file.sha256)}</code>, {file.size / 1e6:.2f} MB</p>'
    yield "<ul>"
    for node in bad:
        yield from _node(node)
    for node, text in warned:
        yield f"<li>{_mark('warning', node.name)} {escape(text)}</li>"
    for place in file.places:
        on = f" on {place.host}" if place.host else ""
        yield f"<li><code>{escape(place.name)}</code>{escape(on)}: {escape(counts(place.nodes))}"
        yield f' <span class="soft">{escape(place.where)}</span>'
        failures = [node for node in place.nodes if node.outcome in BAD]
        if failures:
            yield "<ul>"
            for node in failures:
                yield from _node(node)
            yield "</ul>"
        yield "</li>"
    for one in file.untested:
        state = "skipped" if one.outcome == "skipped" else "failed"
        yield f"<li>{_mark(state, 'not run')} {escape(one.reason)}</li>"
    yield "</ul></div></details>"


def _node(node: Node) -> Iterator[str]:
    state = "failed" if node.outcome in BAD else "warning" if node.warnings else node.outcome
    yield f"<li>{_mark(state, node.outcome)} <code>{escape(node.name)}</code>"
    if node.text:
        yield f"<pre>{escape(node.text)}</pre>"
    for text in node.warnings:
        yield f"<p>{_mark('warning', 'warning')} {escape(text)}</p>"
    yield "</li>"
