"""Name the repository in the files of a release: ``python docs/name_repository.py OWNER/NAME TAG``.

The repository does not know its owner, and the package index cannot follow relative links. So the publishing workflow writes both
into the files of its work tree before it builds them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: The name that files have until then.
PLACEHOLDER = "OWNER/pytest-wheelcheck"

FILES = ("CITATION.cff", "README.md", "docs/ci.md", "pyproject.toml")

_LINK = re.compile(r"(!?)(\[[^]]*\])\((?!https?:|#)([^)]+)\)")


def named(text: str, repository: str) -> str:
    """Return a text with the name of the repository.

    :param repository: as ``owner/name``.
    """
    return text.replace(PLACEHOLDER, repository)


def absolute(text: str, repository: str, tag: str) -> str:
    """Return the text of the README with absolute links.

    :param repository: as ``owner/name``.
    :param tag: the tag of the release.
    """

    def link(match: re.Match[str]) -> str:
        kind = "raw" if match[1] else "blob"
        return f"{match[1]}{match[2]}(https://github.com/{repository}/{kind}/{tag}/{match[3]})"

    return _LINK.sub(link, text)


def main() -> int:
    """Change the files.

    :returns: 2 if the arguments are wrong.
    """
    if len(sys.argv) != 3 or not re.fullmatch(r"[\w.-]+/[\w.-]+", sys.argv[1]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    _, repository, tag = sys.argv
    for name in FILES:
        path = ROOT / name
        text = named(path.read_text(encoding="utf-8"), repository)
        if name == "README.md":
            text = absolute(text, repository, tag)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
