"""The documents agree with the code, and their links work."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import Any

import generate
import pytest
import yaml

from pytest_wheelcheck.interpreters.registry import providers

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "pytest_wheelcheck"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_the_code_declares(name: str) -> None:
    expected = "\n".join(generate.PAGES[name]()) + "\n"
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == expected, "run: python docs/generate.py"


#: Pages for users.
GUIDES = [
    *(pytest.param(ROOT / name, id=name) for name in ("README.md", "docs/boards.md", "docs/usage.md")),
    *(pytest.param(page, id=page.name) for page in sorted((ROOT / "docs" / "howto").glob("*.md"))),
]


@pytest.mark.parametrize("page", GUIDES)
def test_every_option_in_a_guide_exists(pytestconfig: pytest.Config, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"--wheel[a-z-]*", text))
    declared = {name for name in pytestconfig._parser.optparser._option_string_actions if name.startswith("--wheel")}
    assert named <= declared


@pytest.mark.parametrize("page", GUIDES)
def test_every_ini_key_in_a_guide_exists(pytestconfig: pytest.Config, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = {"".join(pair) for pair in re.findall(r"^(wheel_[a-z_]+) =|`(wheel_[a-z_]+)`", text, re.MULTILINE)}
    for block in re.findall(r"^\[tool\.wheelcheck\]\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        names |= {f"wheel_{name.replace('-', '_')}" for name in re.findall(r"^([a-z_-]+) =", block, re.MULTILINE)}
    # The page on maturin has options only.
    assert names or page.name == "maturin.md"
    for name in names - {"wheel_target"}:  # a fixture and a marker
        pytestconfig.getini(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_the_configuration_are_in_the_table_of_the_project(page: Path) -> None:
    """A key in the pytest configuration needs this plugin for every run of pytest."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [block for block in blocks if re.search(r"^wheel_\w+ *=", block, re.MULTILINE)] == []


@pytest.mark.parametrize("title", ["From a new Raspberry Pi OS to the first run", "A Graviton instance in CI"])
def test_the_first_run_on_a_board_takes_ten_lines(title: str) -> None:
    text = (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert 0 < len(block.splitlines()) <= 10


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages: list[str] = []

    def walk(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            for value in entry.values():
                if isinstance(value, str):
                    pages.append(value)
                else:
                    walk(value)

    walk(yaml.safe_load(text)["nav"])
    own = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(pages) == sorted(own | {"index.md", "changes.md", "contributing.md", "security.md"})


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_page_of_interpreters_lists_every_provider_in_order() -> None:
    page = (ROOT / "docs" / "interpreters.md").read_text(encoding="utf-8")
    table = page.partition("| provider |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert names == ["directory", *(provider.name for provider in providers(lambda *_: None))]


def test_the_tox_environments_that_the_documents_name_exist() -> None:
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    declared = set(re.findall(r"^\[testenv:([^]]+)\]", tox, re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md", "docs/boards.md"):
        named = re.findall(r"tox run -e ([\w-]+)", (ROOT / document).read_text(encoding="utf-8"))
        assert named, document
        assert set(named) <= declared


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_work(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), link
        titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        # As GitHub makes them from a heading.
        anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, link


ROOMS = "|".join(path.stem for path in SOURCE.iterdir() if not path.name.startswith("_"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_names_of_the_code_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(rf"`((?:src|tests|docs|benchmarks|native|{ROOMS})/[\w./-]*)`", text):
        assert (ROOT / path).exists() or (SOURCE / path).exists(), path
    for name in re.findall(rf"`((?:{ROOMS})(?:\.\w+)+)`", text):
        pkgutil.resolve_name(f"pytest_wheelcheck.{name}")


def test_no_document_or_source_names_a_registry_or_a_machine() -> None:
    wrong = re.compile(r"(pypi\.org|pythonhosted|crates\.io|deb\.debian|(?<![\w}])/(?:root|work)/)")
    for path in [*PAGES, *SOURCE.rglob("*.py")]:
        assert not wrong.search(path.read_text(encoding="utf-8")), path
