"""The check of the built documentation finds what it is for."""

from __future__ import annotations

from pathlib import Path

import check_site
import pytest
from site_hooks import convert, site_link

PAGE = '<html><head><link rel="stylesheet" href="style.css"></head><body>{}</body></html>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "style.css").write_text("a { background: url(data:image/png;base64,AA==) }")
    (tmp_path / "other.html").write_text(PAGE.format('<h2 id="here">x</h2>'))
    return tmp_path


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('<a href="other.html#here">x</a> <a href="https://example.org/x">x</a>', None),
        ('<a href="missing.html">x</a>', "page.html: there is no missing.html"),
        ('<a href="other.html#there">x</a>', "page.html: there is no anchor other.html#there"),
        ('<a href="#there">x</a>', "page.html: there is no anchor #there"),
        ('<img src="missing.svg">', "page.html: there is no missing.svg"),
        ('<img src="https://example.org/x.svg">', "page.html: loads https://example.org/x.svg"),
        ('<script src="//example.org/x.js"></script>', "page.html: loads //example.org/x.js"),
        ('<link rel="preconnect" href="https://example.org">', "page.html: loads https://example.org"),
    ],
)
def test_a_page(site: Path, content: str, problem: str | None) -> None:
    (site / "page.html").write_text(PAGE.format(content))
    assert list(check_site.problems(site)) == ([problem] if problem else [])


def test_a_style_sheet(site: Path) -> None:
    (site / "style.css").write_text("@import 'https://example.org/a.css'; b { src: url(//example.org/b.woff) }")
    assert list(check_site.problems(site)) == [
        "style.css: loads https://example.org/a.css",
        "style.css: loads //example.org/b.woff",
    ]


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("index.md", "docs/ci.md", "ci.md"),
        ("index.md", "CHANGELOG.md", "changes.md"),
        ("security.md", "docs/howto/board.md", "howto/board.md"),
        ("howto/board.md", "../boards.md", "../boards.md"),
        ("howto/board.md", "../../SECURITY.md", "../security.md"),
        ("ci.md", "release.md", "release.md"),
    ],
)
def test_links_of_the_repository_and_of_the_site(page: str, link: str, expected: str) -> None:
    assert site_link(link, page) == expected


def test_lists_and_code() -> None:
    lines = ["- a [b](docs/ci.md#x)", "  - c", "```", "  [b](docs/ci.md)", "```", "[d](https://example.org) [e](#f)"]
    assert convert(lines, "index.md") == [
        "- a [b](ci.md#x)",
        "    - c",
        "```",
        "  [b](docs/ci.md)",
        "```",
        "[d](https://example.org) [e](#f)",
    ]
