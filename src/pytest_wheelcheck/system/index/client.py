"""The program that asks the package index. It runs in pip, which knows indexes, proxies, certificates and passwords.

``client.py PIP REQUEST`` prints one JSON object. PIP is a wheel of pip, which is used if none is installed; it may be empty.
REQUEST is a file of JSON:

- ``{"list": NAME, "arguments": [...]}``: the files of a project. The answer has ``files``, objects with ``name``, ``url``,
  ``sha256`` (empty if the index has none), ``size`` (0 if unknown) and ``yanked``.
- ``{"fetch": [{"url": ..., "path": ..., "size": ...}], "arguments": [...]}``: download files, several at a time. The answer has
  ``errors``, one text for each file, empty if it was written.

``arguments`` are options of ``pip download``. An answer with ``problem`` says why nothing could be done. Sources: PEP 503,
PEP 691, PEP 700; ``pip._internal.commands`` of pip 21 to 26 for the session and the options.
"""

from __future__ import annotations

import html.parser
import json
import os
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

#: What this program understands, the best first.
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

#: Bytes of a listing. The largest projects have 30 MB.
_MAX_LISTING = 200 << 20

#: Bytes by which a file may be larger than the index says, or bytes of a file whose size it does not say.
_MAX_FILE = 4 << 30

#: Files that are downloaded at the same time.
_PARALLEL = 4


class _Links(html.parser.HTMLParser):
    """Collects the links of a page (PEP 503)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, Any]] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "base" and values.get("href"):
            self.base = values["href"] or ""
        if tag == "a" and values.get("href"):
            self.found.append({"href": values["href"], "yanked": "data-yanked" in values})


def read_html(text: str, page: str) -> list[dict[str, Any]]:
    """Return the files on a page.

    :param page: its address.
    """
    parser = _Links()
    parser.feed(text)
    base = urllib.parse.urljoin(page, parser.base)
    files = []
    for link in parser.found:
        url, _, fragment = urllib.parse.urljoin(base, link["href"]).partition("#")
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
        digest = dict(urllib.parse.parse_qsl(fragment)).get("sha256", "")
        files.append({"name": name, "url": url, "sha256": digest, "size": 0, "yanked": link["yanked"]})
    return files


def read_json(data: Any, page: str) -> list[dict[str, Any]]:
    """Return the files of an answer in JSON.

    :param page: its address.
    """
    return [
        {
            "name": entry["filename"],
            "url": urllib.parse.urljoin(page, entry["url"]),
            "sha256": entry.get("hashes", {}).get("sha256", ""),
            "size": entry.get("size") or 0,
            "yanked": bool(entry.get("yanked")),
        }
        for entry in data["files"]
    ]


def list_files(session: Any, indexes: list[str], name: str) -> dict[str, Any]:
    """Ask every index for a project. A file that several have is listed once, as pip's first index has it."""
    files: dict[str, dict[str, Any]] = {}
    asked: list[str] = []
    for index in indexes:
        page = f"{index.rstrip('/')}/{name}/"
        asked.append(_without_password(page))
        answer = session.get(page, headers={"Accept": _ACCEPT, "Cache-Control": "max-age=0"}, stream=True)
        if answer.status_code == 404:
            continue
        answer.raise_for_status()
        body = b""
        for part in answer.iter_content(1 << 16):
            body += part
            if len(body) > _MAX_LISTING:
                raise ValueError(f"{asked[-1]} is larger than {_MAX_LISTING >> 20} MB")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind.endswith("+json"):
            found = read_json(json.loads(body), answer.url)
        elif kind in ("text/html", "application/vnd.pypi.simple.v1+html"):
            found = read_html(body.decode(answer.encoding or "utf-8", "replace"), answer.url)
        else:
            raise ValueError(f"{asked[-1]} is no index: its answer has the type {kind or 'none'}")
        for entry in found:
            files.setdefault(entry["name"], entry)
    return {"files": list(files.values()), "asked": asked}


def fetch(session: Any, wanted: dict[str, Any]) -> str:
    """Download one file; return why that is impossible, or an empty text."""
    limit = wanted["size"] or _MAX_FILE
    done = 0
    try:
        answer = session.get(wanted["url"], headers={"Accept-Encoding": "identity"}, stream=True)
        answer.raise_for_status()
        with Path(wanted["path"]).open("wb") as file:
            for part in answer.iter_content(1 << 18):
                done += len(part)
                if done > limit:
                    return f"it is larger than the {limit} bytes that the index names"
                file.write(part)
    except Exception as error:  # noqa: BLE001  of any library that pip uses
        return _describe(error)
    return ""


def _describe(error: Exception) -> str:
    # Errors of pip with a diagnosis have it in attributes.
    parts = [str(getattr(error, name, None) or "") for name in ("message", "context")]
    return _without_password(": ".join(filter(None, parts)) or f"{type(error).__name__}: {error}")


def _without_password(text: str) -> str:
    scheme, found, rest = text.partition("://")
    host = rest.partition("/")[0]
    return scheme + found + rest.replace(host, host.rpartition("@")[2], 1) if "@" in host else text


def main() -> None:
    """Answer one request."""
    if sys.argv[1]:
        # An installed pip comes first. It starts four times as fast: a wheel has no bytecode.
        sys.path.append(sys.argv[1])
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    try:
        from pip._internal.commands import create_command

        command: Any = create_command("download")
        options, _ = command.parse_args(
            ["--no-input", "--no-cache-dir", "--retries=2", *request["arguments"], "nothing"]
        )
        with command.main_context():
            session = command.get_default_session(options)
            if "list" in request:
                indexes = [] if options.no_index else [options.index_url, *options.extra_index_urls]
                answer = list_files(session, indexes, request["list"])
            else:
                with ThreadPoolExecutor(_PARALLEL) as pool:
                    answer = {"errors": list(pool.map(lambda wanted: fetch(session, wanted), request["fetch"]))}
    except Exception as error:  # noqa: BLE001  of any library that pip uses
        answer = {"problem": _describe(error)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
