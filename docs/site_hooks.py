"""Hooks of mkdocs: the pages of the repository's root are part of the site, and Markdown means what it means on a code host."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent

#: Pages of the root by their names in the site.
ROOT_PAGES = {
    "index.md": "README.md",
    "changes.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}

_FENCE = re.compile(r"^(?:```|~~~)")
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name headings as code hosts do."""
    from pymdownx.slugs import slugify

    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    from mkdocs.structure.files import File

    for name, source in ROOT_PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Convert a page from the Markdown of code hosts."""
    del config, files
    return "\n".join(convert(markdown.splitlines(), page.file.src_uri)) + "\n"


def convert(lines: list[str], name: str) -> list[str]:
    """Convert the lines of a page.

    :param name: its name in the site.
    """
    converted = []
    in_code = False
    for line in lines:
        is_fence = _FENCE.match(line) is not None
        if not in_code and not is_fence:
            # Python-Markdown wants four spaces where others want two.
            indent = len(line) - len(line.lstrip(" "))
            text = _LINK.sub(lambda match: match[1] + site_link(match[2], name), line)
            converted.append(" " * indent + text)
        else:
            converted.append(line)
        in_code ^= is_fence
    return converted


def site_link(link: str, name: str) -> str:
    """Return a link between files of the repository as one between pages of the site.

    :param name: the name of the page that has the link.
    """
    source = ROOT_PAGES.get(name, f"docs/{name}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    names = {path: page for page, path in ROOT_PAGES.items()}
    found = names.get(target) or target.removeprefix("docs/")
    return posixpath.relpath(found, posixpath.dirname(name) or ".")
