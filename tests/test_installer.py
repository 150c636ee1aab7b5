from __future__ import annotations

import http.server
import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_wheelcheck.errors import InstallError, UncheckedInstallError
from pytest_wheelcheck.system import pip_config, uv, uv_config, uv_errors
from pytest_wheelcheck.system.process import CompletedProcess
from pytest_wheelcheck.system.uv_config import InstallSettings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment variables of a user without any configuration, in an empty directory."""
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
        "VIRTUAL_ENV": str(tmp_path / "venv"),
    }


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def arguments(environ: dict[str, str], config: dict[str, str] | None = None, **settings: object) -> list[str]:
    return uv_config.arguments(InstallSettings(**settings), environ, config or {})  # type: ignore[arg-type]


def completed(stderr: str, code: int = 1) -> CompletedProcess:
    return CompletedProcess(argv=("uv",), returncode=code, stdout="", stderr=stderr, seconds=0.0)


# --- pip's configuration ---------------------------------------------------------------------------------------------


def test_precedence_of_pips_files(home: dict[str, str], tmp_path: Path) -> None:
    write(
        tmp_path / "xdg/pip/pip.conf",
        "[global]\nindex-url = a\ntimeout = a\nretries = a\nproxy = a\n[install]\npre = a",
    )
    write(tmp_path / "home/.pip/pip.conf", "[global]\nindex-url = b\ntimeout = b\nretries = b\npre = b\n")
    write(tmp_path / "home/.config/pip/pip.conf", "[global]\nindex_url = c\ntimeout = c\n[download]\ncert = c\n")
    write(tmp_path / "venv/pip.conf", "[global]\n--timeout = 50%\n")
    found = pip_config.read(home, system="linux")
    # [install] of the weakest file overrides [global] of the others. The host's own /etc/pip.conf may add more.
    assert {key: found[key] for key in ("index-url", "timeout", "retries", "proxy", "pre")} == {
        "index-url": "c",
        "timeout": "50%",
        "retries": "b",
        "proxy": "a",
        "pre": "a",
    }
    found = pip_config.read({**home, "PIP_INDEX_URL": "d", "PIP_TIMEOUT": ""}, system="linux")
    assert (found["index-url"], found["timeout"]) == ("d", "50%")


def test_chosen_file(home: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "home/.config/pip/pip.conf", "[global]\nretries = user\n")
    write(tmp_path / "venv/pip.conf", "[global]\nindex-url = site\n")
    chosen = write(tmp_path / "chosen.conf", "[global]\nindex-url = chosen\n")
    found = pip_config.read({**home, "PIP_CONFIG_FILE": str(chosen)}, system="linux")
    assert found["index-url"] == "chosen"
    assert found.get("retries") != "user"
    silent = pip_config.read({**home, "PIP_CONFIG_FILE": os.devnull}, system="linux")
    assert "index-url" not in silent


def test_files_on_other_systems(home: dict[str, str], tmp_path: Path) -> None:
    mac = [path.as_posix() for path in pip_config.files(home, system="darwin")]
    assert mac[0] == "/Library/Application Support/pip/pip.conf"
    assert mac[2].endswith("home/.config/pip/pip.conf")
    (tmp_path / "home/Library/Application Support/pip").mkdir(parents=True)
    assert pip_config.files(home, system="darwin")[2].parent.parent.name == "Application Support"
    windows = pip_config.files({"USERPROFILE": "U", "APPDATA": "A", "PROGRAMDATA": "P"}, system="win32")
    assert [path.as_posix() for path in windows][:3] == ["P/pip/pip.ini", "U/pip/pip.ini", "A/pip/pip.ini"]


def test_file_that_cannot_be_read(home: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "venv/pip.conf", "no section\n")
    with pytest.raises(InstallError, match="cannot be read") as caught:
        pip_config.read(home, system="linux")
    assert "no section" in caught.value.details


# --- uv's configuration ----------------------------------------------------------------------------------------------


def test_nothing_configured(home: dict[str, str]) -> None:
    assert arguments(home) == []
    assert uv_config.environment(home, {}) == {**home, "UV_PYTHON_DOWNLOADS": "never"}


def test_pips_settings_become_uvs(home: dict[str, str], tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    config = {
        "index-url": "https://one/simple",
        "extra-index-url": "https://two/simple\nhttps://three/simple",
        "find-links": f"{there} {tmp_path}/missing https://four/links",
        "trusted-host": "one two:8080",
        "cert": "/cert.pem",
        "client-cert": "/client.pem",
        "timeout": "7",
        "retries": "1",
        "proxy": "http://proxy",
        "pre": "yes",
        "constraint": "a.txt b.txt",
        "only-binary": ":all:",
        "no-binary": "x,y",
        "keyring-provider": "subprocess",
    }
    assert arguments(home, config) == [
        *("--default-index", "https://one/simple", "--index", "https://two/simple", "--index", "https://three/simple"),
        *("--find-links", str(there), "--find-links", "https://four/links"),
        *("--constraints", "a.txt", "--constraints", "b.txt"),
        *("--only-binary", ":all:", "--no-binary", "x", "--no-binary", "y"),
    ]
    env = uv_config.environment(home, config)
    assert {key: value for key, value in env.items() if key not in home} == {
        "HTTPS_PROXY": "http://proxy",
        "HTTP_PROXY": "http://proxy",
        "SSL_CERT_FILE": "/cert.pem",
        "SSL_CLIENT_CERT": "/client.pem",
        "UV_HTTP_RETRIES": "1",
        "UV_HTTP_TIMEOUT": "7",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "one two:8080",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_PRERELEASE": "allow",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def test_uvs_variables_override_pips(home: dict[str, str]) -> None:
    config = {"index-url": "https://pip/simple", "find-links": ".", "trusted-host": "pip", "no-index": "1", "cert": "p"}
    own = {
        "UV_INDEX_URL": "https://uv/simple",
        "UV_FIND_LINKS": "/uv",
        "UV_INSECURE_HOST": "uv",
        "SSL_CERT_FILE": "uv",
    }
    assert arguments({**home, **own}, config) == []
    assert uv_config.environment({**home, **own}, config).items() >= own.items()


@pytest.mark.parametrize(
    "where",
    [
        *(["roaming/uv/uv.toml"] if sys.platform == "win32" else ["home/.config/uv/uv.toml", "xdg/uv/uv.toml"]),
        *("work/uv.toml", "chosen.toml"),
    ],
)
def test_uvs_files_override_pips(where: str, home: dict[str, str], tmp_path: Path) -> None:
    home["APPDATA"] = str(tmp_path / "roaming")
    path = write(tmp_path / where, "[pip]\nindex-url = 'https://uv/simple'\n")
    if path.stem == "chosen":
        home["UV_CONFIG_FILE"] = str(path)
    assert arguments(home, {"index-url": "https://pip/simple", "find-links": "."}) == ["--find-links", "."]


def test_command_line_overrides_all(home: dict[str, str]) -> None:
    config = {"index-url": "https://pip/simple", "no-index": "1", "find-links": "."}
    environ = {**home, "UV_INDEX": "https://uv/extra"}
    found = arguments(
        environ,
        config,
        offline=True,
        index="https://line/simple",
        extra_index=("https://line/extra",),
        find_links=("here",),
    )
    assert found == [
        *("--offline", "--default-index", "https://line/simple"),
        *("--index", "https://line/extra", "--index", "https://uv/extra"),
        *("--find-links", "here", "--find-links", "."),
    ]
    assert arguments(home, config) == ["--no-index", "--find-links", "."]
    assert arguments({**home, "UV_FIND_LINKS": "/a,/b"}, find_links=("here",)) == [
        *("--find-links", "here", "--find-links", "/a", "--find-links", "/b"),
    ]


def test_project_configures_sources_but_not_requirements(home: dict[str, str], tmp_path: Path) -> None:
    write(
        tmp_path / "work/pyproject.toml",
        "[tool.uv]\noverride-dependencies = ['a==1']\nfind-links = ['links', 'https://links']\n"
        "[[tool.uv.index]]\nname = 'own'\nurl = 'https://own/simple'\n"
        "[[tool.uv.index]]\nurl = 'https://default/simple'\ndefault = true\n"
        "[[tool.uv.index]]\nname = 'torch'\nurl = 'https://torch'\nexplicit = true\n",
    )
    settings = InstallSettings()
    links = ["--find-links", str(tmp_path / "work/links"), "--find-links", "https://links"]
    own = ["--index", "own=https://own/simple"]
    empty = ["--project", str(tmp_path)]
    assert uv_config.arguments(settings, home, {}, project=tmp_path) == [
        *own,
        *("--default-index", "https://default/simple"),
        *links,
        *empty,
    ]
    line = InstallSettings(index="https://line/simple")
    assert uv_config.arguments(line, home, {}, project=tmp_path) == [
        *("--default-index", "https://line/simple"),
        *own,
        *links,
        *empty,
    ]
    user = {**home, "UV_INDEX": "https://user", "UV_FIND_LINKS": "/user"}
    assert uv_config.arguments(settings, user, {}, project=tmp_path) == empty
    # Without a hidden project, uv reads the file itself.
    assert uv_config.arguments(settings, home, {}) == []


def test_uv_accepts_every_argument(home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = tmp_path / "links"
    links.mkdir()
    constraint = write(tmp_path / "constraints.txt", "")
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    environ = {
        **os.environ,
        **home,
        "PIP_FIND_LINKS": f"{links} {tmp_path}/missing",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "http://127.0.0.1:9/more",
        "PIP_CONSTRAINT": str(constraint),
        "PIP_ONLY_BINARY": ":all:",
        "PIP_PRE": "1",
    }
    listed = write(tmp_path / "requirements.txt", "")
    target = tmp_path / "target"
    done = uv.run(["install", "--target", target, "-r", listed], InstallSettings(), project=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr


# --- uv itself -------------------------------------------------------------------------------------------------------


def test_uv_is_found() -> None:
    assert uv.executable().is_file()
    assert uv.version()[0].isdigit()


@pytest.mark.parametrize(
    ("stderr", "conflict"),
    [
        ("error: No solution found when resolving dependencies\n  cause: Because you require a>=2 and a==1.0", True),
        ("error: Requirements contain conflicting URLs for package `a`", True),
        ("error: No solution found\n  cause: Because a was not found in the package registry", False),
        ("error: No solution found\n\nhint: the network was disabled", False),
        ("error: Request failed after 3 retries", False),
    ],
)
def test_conflicts_are_not_other_failures(stderr: str, conflict: bool) -> None:
    assert uv_errors.is_conflict(completed(stderr)) is conflict
    assert not uv_errors.is_conflict(completed(stderr, 0))


@pytest.mark.skipif(sys.platform == "win32", reason="needs the command openssl")
def test_index_with_an_unknown_certificate(tmp_path: Path) -> None:
    """An index whose certificate no known authority signed."""
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*openssl, "-keyout", "key.pem", "-out", "cert.pem"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache")}
        index = InstallSettings(index=f"https://127.0.0.1:{server.server_port}/simple")
        listed = write(tmp_path / "requirements.txt", "anything")
        done = uv.run(["compile", "--python", sys.executable, listed], index, environ=environ)
        server.shutdown()
        thread.join()
    error = uv_errors.install_error("it failed", done)
    assert isinstance(error, UncheckedInstallError)
    assert "does not trust the certificate" in error.cause
    assert "UV_SYSTEM_CERTS" in error.fix


class QuietHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


def test_error_without_explanation() -> None:
    error = uv_errors.install_error("it failed", completed("Using Python 3.12.1 environment at: e\nerror: unknown", 3))
    assert error.message == "it failed"
    assert "exit status 3" in error.cause
    assert error.details == "error: unknown"
    assert uv_errors.install_error("it failed", completed("", 3)).details == "uv printed nothing"


FIRST_CALLS = """
import sys, threading
from pytest_wheelcheck.system import uv
import uv as _
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(6)
def find():
    barrier.wait()
    uv.executable.__wrapped__()
threads = [threading.Thread(target=find) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_threads_that_ask_at_once(tmp_path: Path) -> None:
    """uv asks :mod:`sysconfig` for the suffix of programs."""
    script = write(tmp_path / "script.py", FIRST_CALLS)
    done = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
