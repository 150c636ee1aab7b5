"""A package index on this host: files in a directory, listed as PEP 503 (HTML) or PEP 691 (JSON) say."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from packaging.utils import canonicalize_name


class Index:
    """The index, and what it was asked for.

    :param directory: its files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.html = False
        #: Names of files that are yanked, that are listed without a digest, and that are sent with another last byte.
        self.yanked: set[str] = set()
        self.without_digest: set[str] = set()
        self.damaged: set[str] = set()
        #: ``USER:PASSWORD`` that it asks for.
        self.password = ""
        #: The paths of all requests.
        self.requests: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Its address."""
        user = f"{self.password}@" if self.password else ""
        return f"http://{user}127.0.0.1:{self.port}/simple"

    def files(self, project: str) -> list[Path]:
        """Return the files of a project."""
        return [
            path
            for path in sorted(self.directory.iterdir())
            if path.suffix in {".whl", ".gz"} and canonicalize_name(path.name.partition("-")[0]) == project
        ]

    def answer(self, path: str, authorization: str) -> tuple[int, str, bytes]:
        """Return status, type and content of an answer."""
        self.requests.append(path)
        wanted = "Basic " + base64.b64encode(self.password.encode()).decode()
        if self.password and authorization != wanted:
            return 401, "text/plain", b""
        if path.startswith("/files/"):
            content = (self.directory / path.rpartition("/")[2]).read_bytes()
            return 200, "application/octet-stream", content[:-1] + b"x" if Path(path).name in self.damaged else content
        if path.startswith("/text/"):
            return 200, "text/plain", b"this is no index"
        files = self.files(path.strip("/").rpartition("/")[2])
        if not files:
            return 404, "text/plain", b""
        digests = {
            file.name: "" if file.name in self.without_digest else hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        }
        if self.html:
            lines = []
            for name, digest in digests.items():
                fragment = f"#sha256={digest}" if digest else ""
                yanked = ' data-yanked=""' if name in self.yanked else ""
                lines.append(f'<a href="../../files/{name}{fragment}"{yanked}>{name}</a>')
            return 200, "text/html; charset=utf-8", "\n".join(lines).encode()
        entries = [
            {
                "filename": file.name,
                "url": f"../../files/{file.name}",
                "hashes": {"sha256": digests[file.name]} if digests[file.name] else {},
                "size": file.stat().st_size,
                "yanked": file.name in self.yanked,
            }
            for file in files
        ]
        text = json.dumps({"meta": {"api-version": "1.1"}, "name": "x", "files": entries})
        return 200, "application/vnd.pypi.simple.v1+json", text.encode()


@contextmanager
def serve(directory: Path) -> Iterator[Index]:
    """Serve an index until the context ends."""
    directory.mkdir(exist_ok=True)
    index = Index(directory)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, content = index.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
