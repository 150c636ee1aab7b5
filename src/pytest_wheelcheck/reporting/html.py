"""The report as a single HTML file without external resources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from pytest_wheelcheck.reporting.compare import Comparison, compare, headline, outcomes
from pytest_wheelcheck.reporting.markdown import SIGNS, counts, origin, title, verdict
from pytest_wheelcheck.reporting.matrix import COLUMNS, MatrixRow, matrix_rows, target_state
from pytest_wheelcheck.reporting.report import BAD, NodeResult, Report, TargetReport, WheelReport

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
    """Render a report.

    :param missing: as for :func:`~pytest_wheelcheck.reporting.matrix.matrix_rows`.
    """
    state = "passed" if report.complete and not report.failures else "failed"
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Wheels: {escape(title(report))}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title(report))}</h1>",
        f'<p class="verdict {state}">{escape(verdict(report))}</p>',
        "<h2>Coverage</h2>",
        *_table(matrix_rows(report, missing)),
    ]
    if comparisons := compare(report):
        lines += ["<h2>Machines</h2>", "<ul>", *(line for each in comparisons for line in _comparison(each)), "</ul>"]
    if report.release:
        lines += ["<h2>Release</h2>", "<ul>", *(line for result in report.release for line in _result(result)), "</ul>"]
    lines += ["<h2>Wheels</h2>", *(line for wheel in report.wheels for line in _wheel(wheel))]
    about = origin(report) or f"Written by {report.program or 'pytest-wheelcheck'}"
    lines += [f"<footer>{escape(about)}</footer>", "</body></html>"]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[MatrixRow]) -> Iterator[str]:
    headings = "".join(f"<th>{escape(name)}</th>" for name in ("platform", "interpreter", *COLUMNS))
    yield f'<div class="scroll"><table><thead><tr>{headings}</tr></thead><tbody>'
    previous = ""
    for row in rows:
        same = row.platform == previous
        previous = row.platform
        cells = "".join(f"<td>{_mark(cell.state, cell.text)}</td>" for cell in row.cells)
        yield (
            f'<tr class="{"same" if same else "new"}" title="{escape(", ".join(row.filenames))}">'
            f"<th>{'' if same else escape(row.platform)}</th><td><code>{escape(row.interpreter)}</code></td>{cells}</tr>"
        )
    yield "</tbody></table></div>"


def _mark(state: str, text: str) -> str:
    return f'<span class="mark {state}">{escape(SIGNS.get(state, "") + text)}</span>' if text else ""


def _wheel(wheel: WheelReport) -> Iterator[str]:
    failed_checks = [check for check in wheel.checks if check.outcome in BAD]
    warnings = [(check, text) for check in wheel.checks for text in check.warnings]
    yield f"<details{' open' * bool(wheel.failures)}><summary><code>{escape(wheel.filename)}</code>"
    if wheel.checks:
        checks = _count(len(wheel.checks), "check")
        failed = f"{len(failed_checks)} of {checks} failed"
        yield _mark("failed" if failed_checks else "passed", failed if failed_checks else checks)
    if warnings:
        yield _mark("warning", _count(len(warnings), "warning"))
    for target in wheel.targets:
        state = target_state(target)
        yield _mark(state.state, f"{target.name}: {state.text}")
    yield "</summary><div>"
    if wheel.sha256:
        yield f'<p class="soft">sha256 <code>{escape(wheel.sha256)}</code>, {wheel.size / 1e6:.2f} MB</p>'
    yield "<ul>"
    for check in failed_checks:
        yield from _result(check)
    for check, text in warnings:
        yield f"<li>{_mark('warning', check.name)} {escape(text)}</li>"
    for target in wheel.targets:
        yield from _target(target)
    for entry in wheel.not_run:
        state_name = "skipped" if entry.outcome == "skipped" else "failed"
        yield f"<li>{_mark(state_name, 'not run')} {escape(entry.reason)}</li>"
    yield "</ul></div></details>"


def _target(target: TargetReport) -> Iterator[str]:
    on_host = f" on {target.host}" if target.host else ""
    yield f"<li><code>{escape(target.name)}</code>{escape(on_host)}: {escape(counts(target.results))}"
    yield f' <span class="soft">{escape(target.source)}</span>'
    failed = [result for result in target.results if result.outcome in BAD]
    if failed:
        yield "<ul>"
        for result in failed:
            yield from _result(result)
        yield "</ul>"
    yield "</li>"


def _comparison(comparison: Comparison) -> Iterator[str]:
    state = "warning" if comparison.differences or comparison.untested else "passed"
    yield f"<li><code>{escape(comparison.wheel)}</code>, <code>{escape(comparison.interpreter)}</code>: "
    yield _mark(state, headline(comparison))
    if comparison.differences:
        yield "<ul>"
        for each in comparison.differences:
            yield f"<li><code>{escape(each.name)}</code>: {escape(outcomes(comparison, each))}</li>"
        yield "</ul>"
    yield "</li>"


def _result(result: NodeResult) -> Iterator[str]:
    state = "failed" if result.outcome in BAD else "warning" if result.warnings else result.outcome
    yield f"<li>{_mark(state, result.outcome)} <code>{escape(result.name)}</code>"
    if result.text:
        yield f"<pre>{escape(result.text)}</pre>"
    for text in result.warnings:
        yield f"<p>{_mark('warning', 'warning')} {escape(text)}</p>"
    yield "</li>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
