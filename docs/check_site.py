"""Check the built site: its links, that browsers load nothing from other hosts, and that Markdown means what it means elsewhere.

``python docs/check_site.py DIRECTORY``
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Elements whose addresses a browser loads without a click.
_LOADED = {"script", "img", "link", "iframe", "source", "audio", "video", "object", "embed"}
#: Links in the head that a browser does not load.
_NOT_LOADED = {"canonical", "alternate", "next", "prev", "license"}
#: Elements that a page has as often as CommonMark says.
_COUNTED = ("code", "em", "h2", "h3", "li", "pre", "strong", "td")
_STYLE_ADDRESS = re.compile(r"(?:url\(|@import\s)\s*[\"']?((?:https?:)?//[^\"')\s]+)")


class _Page(HTMLParser):
    """Collects anchors and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect from one element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        for address in (values[name] for name in ("href", "src", "data", "srcset") if name in values):
            self.links.append(address)
            if tag in _LOADED and not set(values.get("rel", "").split()) & _NOT_LOADED:
                self.loaded.append(address)


def problems(site: Path) -> Iterator[str]:
    """Yield the problems of a site."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name}: loads {address}" for address in page.loaded if urlsplit(address).netloc)
        # The page for addresses that do not exist is shown at any address.
        links = [] if path.name == "404.html" else page.links
        for link in links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{name}: there is no {link}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name}: there is no anchor {link}"
    for path in sorted(site.rglob("*.css")):
        for address in _STYLE_ADDRESS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {address}"


def differences(site: Path) -> Iterator[str]:
    """Yield the pages that have other elements than code hosts show, which follow CommonMark."""
    from markdown_it import MarkdownIt
    from site_hooks import ROOT, ROOT_PAGES

    parser = MarkdownIt("commonmark").enable("table")
    docs = ROOT / "docs"
    sources = {path.relative_to(docs).as_posix(): path for path in docs.rglob("*.md")}
    sources |= {name: ROOT / source for name, source in ROOT_PAGES.items()}
    for name, source in sorted(sources.items()):
        expected = parser.render(source.read_text(encoding="utf-8"))
        page = (site / name).with_suffix(".html").read_text(encoding="utf-8")
        found = page.partition("<article")[2].partition("</article>")[0]
        for element in _COUNTED:
            numbers = [len(re.findall(rf"<{element}[ >]", text)) for text in (expected, found)]
            if numbers[0] != numbers[1]:
                yield f"{name}: {numbers[1]} elements <{element}>, and {numbers[0]} on a code host"


def main() -> int:
    """Print the problems.

    :returns: 1 if there are any.
    """
    site = Path(sys.argv[1]).resolve()
    found = [*problems(site), *differences(site)]
    if not list(site.rglob("*.html")):
        found.append(f"{site}: no pages")
    sys.stdout.write("".join(f"{problem}\n" for problem in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
