"""The metadata of the project agree with each other, and no file of a release has a placeholder."""

from __future__ import annotations

import re
from pathlib import Path

import name_repository
import pytest
import yaml

import pytest_wheelcheck

ROOT = Path(__file__).parent.parent


def test_the_citation_names_the_version_and_the_license() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert citation["version"] == pytest_wheelcheck.__version__
    assert citation["title"] == "pytest-wheelcheck"
    assert f'license = "{citation["license"]}"' in project


def test_the_changes_begin_with_this_version_and_its_highlights() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^##+ (.*)$", text, re.MULTILINE)[:2]
    assert first.split()[0] == pytest_wheelcheck.__version__
    assert second == "Highlights"
    highlights = text.partition("### Highlights\n")[2].partition("\n### ")[0]
    assert 10 <= len(highlights.strip().splitlines()) <= 20


def test_the_placeholder_is_only_in_files_where_a_release_replaces_it() -> None:
    pages = [*ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.yml")]
    found = {
        path.relative_to(ROOT).as_posix()
        for path in pages
        if path.is_file() and name_repository.PLACEHOLDER in path.read_text(encoding="utf-8", errors="replace")
    }
    assert found == set(name_repository.FILES)


def test_a_release_names_the_repository() -> None:
    text = "uses: OWNER/pytest-wheelcheck@v0"
    assert name_repository.named(text, "a/b") == "uses: a/b@v0"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](docs/ci.md#x)", "[a](https://github.com/o/n/blob/v1/docs/ci.md#x)"),
        ("![a](docs/session.svg)", "![a](https://github.com/o/n/raw/v1/docs/session.svg)"),
        ("[a](https://example.org) [b](#here)", "[a](https://example.org) [b](#here)"),
    ],
)
def test_links_of_the_readme_on_the_package_index(link: str, expected: str) -> None:
    assert name_repository.absolute(link, "o/n", "v1") == expected


def test_the_readme_has_no_relative_link_on_the_package_index() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", name_repository.absolute(text, "o/n", "v1"))
    assert links
    assert all(link.startswith("https://") for link in links)


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.name
)
def test_forms_ask_for_commands_and_options_that_exist(path: Path) -> None:
    from pytest_wheelcheck.cli.main import make_parser
    from pytest_wheelcheck.plugin.options import OPTIONS

    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["body"]
    usage = make_parser().format_help() + " --version"
    for command in re.findall(r"`wheelcheck ([\w-]+)`", text):
        assert command in usage
    assert set(re.findall(r"--wheel[\w-]*", text)) <= {option.flag for option in OPTIONS}
