"""User-visible text uses the terms of CONTRIBUTING.md: documents, help, checks, and messages in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "pytest_wheelcheck"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "native" / "README.md"]
MODULES = sorted(SOURCE.rglob("*.py"))
HEADER = "| retired | use |"


class Text(NamedTuple):
    """One piece of text, and the line on which it begins."""

    line: int
    text: str


def retired_terms() -> dict[re.Pattern[str], str]:
    """Map the retired terms of CONTRIBUTING.md to their replacements, longest first."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(HEADER)[2]
    terms: dict[str, str] = {}
    for row in re.findall(r"^\| (.+) \| (.+) \|$", table, re.MULTILINE):
        terms.update(dict.fromkeys(row[0].split(", "), row[1]))
    assert len(terms) > 20
    return {
        re.compile(rf"(?<!\w){re.escape(term)}(?!\w)", re.IGNORECASE): terms[term]
        for term in sorted(terms, key=len, reverse=True)
        if term.strip("- ")
    }


TERMS = retired_terms()


def markdown(path: Path) -> Iterator[Text]:
    """Yield the lines of a document without code, link targets, names of checks and the table of retired terms."""
    in_table = in_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        in_table = line == HEADER or (in_table and line.startswith("|"))
        in_code ^= line.startswith("```")
        if not in_table and not in_code:
            yield Text(number, re.sub(r"`[^`]*`|\]\([^)]*\)|WHL\d+-[\w-]+", " ", line))


def messages(path: Path) -> Iterator[Text]:
    """Yield the string literals of a module that are sentences: not docstrings, not single words."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield from (Text(node.lineno, line) for line in node.value.splitlines() if " " in line.strip())


def retired(texts: Iterator[Text], path: Path) -> list[str]:
    """List the retired terms in texts, with their position and replacement."""
    return [
        f"{path.relative_to(ROOT)}:{text.line}: {found[0]!r} is retired, use: {replacement}\n    {text.text.strip()}"
        for text in texts
        for term, replacement in TERMS.items()
        if (found := term.search(text.text))
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents(path: Path) -> None:
    found = retired(markdown(path), path)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_messages(path: Path) -> None:
    found = retired(messages(path), path)
    assert not found, "\n".join(found)


def test_tox_descriptions() -> None:
    path = ROOT / "tox.ini"
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    found = retired((Text(number, line) for number, line in lines if line.startswith("description")), path)
    assert not found, "\n".join(found)
