"""The interpreters of the host: real ones, identified for real."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import metadata
from pathlib import Path

import packaging
import pytest
from packaging.specifiers import SpecifierSet

from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters import base, facts, host
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache

#: The interpreter may have a packaging of its own, of another version, which orders the tags differently.
SYS_TAGS = "import sys; sys.path.insert(0, sys.argv[1]); from packaging import tags; print(*tags.sys_tags(), sep='\\n')"

posix = pytest.mark.skipif(os.name != "posix", reason="makes shell scripts and links")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(cache.VARIABLE, str(directory))
    return directory


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> host.HostProvider:
    found = host.HostProvider()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("shared cache")))
        found.interpreters()
    return found


def _own_base() -> Path:
    return facts.identify(Path(sys.executable)).python


def test_here_is_the_running_interpreter() -> None:
    own = facts.query(Path(sys.executable))
    assert own.platform == base.here()
    assert own.version == sys.version_info[:3]
    assert own.free_threaded == bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def test_tags_equal_the_interpreters_own_answer(provider: host.HostProvider) -> None:
    own = Path(packaging.__file__).parent.parent
    supported = SpecifierSet(metadata("packaging")["Requires-Python"])
    compared = [found for found in provider.interpreters() if ".".join(map(str, found.facts.version)) in supported]
    assert compared
    for found in compared:
        completed = subprocess.run(
            [found.facts.python, "-I", "-c", SYS_TAGS, own], capture_output=True, text=True, check=True
        )
        assert list(found.facts.tags) == list(dict.fromkeys(completed.stdout.split())), found.facts.python


def test_one_of_each_kind_including_the_running_one(provider: host.HostProvider) -> None:
    catalog = Catalog(lambda _: [provider], backends())
    offers, _ = catalog.ask(Request(platform=base.here()))
    kinds = [(offer.kind, offer.platform) for offer in offers]
    assert len(kinds) == len(set(kinds))
    own = [offer for offer in offers if offer.version[:2] == sys.version_info[:2] and offer.implementation == "cpython"]
    assert own
    assert max(offer.version for offer in own) >= sys.version_info[:3]
    for offer in offers:
        assert offer.version[:2] >= base.OLDEST
        runtime = catalog.get(offer)
        assert runtime.installation.provider == "host"
        assert runtime.python.is_file()
        assert runtime.python == runtime.installation.program == Path(offer.key)
        assert runtime.installation.version == offer.version


def test_nothing_for_another_platform(provider: host.HostProvider) -> None:
    assert provider.offers(Request(platform=Platform(system="plan9", architecture="x86_64"))).offers == ()


@posix
def test_the_base_of_a_virtual_environment(tmp_path: Path, provider: host.HostProvider) -> None:
    # With copies, since a link is followed anyway.
    subprocess.run([_own_base(), "-m", "venv", "--without-pip", "--copies", tmp_path / "env"], check=True)
    (offer,) = provider.offers(Request(platform=base.here(), python=tmp_path / "env/bin/python")).offers
    assert tmp_path not in Path(offer.key).parents
    assert Path(offer.key).parent == _own_base().parent
    # The directory of the environment means the same.
    (same,) = provider.offers(Request(platform=base.here(), python=tmp_path / "env")).offers
    assert same.key == offer.key


@posix
def test_path_and_shims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory in ("bin", "shims"):
        (tmp_path / directory).mkdir()
    (tmp_path / "bin/python3.12").symlink_to(_own_base())
    (tmp_path / "bin/python3.12-config").symlink_to("/bin/true")
    (tmp_path / "shims/python3.12").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "shims"), str(tmp_path / "bin"), "", "/nonexistent"]))
    on_path = [path for path, where in host.candidates() if where == "PATH"]
    assert on_path == [tmp_path / "bin/python3.12"]


@posix
def test_well_known_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyenv/versions/3.12.0/bin", "uv/cpython-3.13/bin", "uv/.temp/bin"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "python3").symlink_to(_own_base())
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    found = {where: path for path, where in host.candidates()}
    assert found["pyenv"] == tmp_path / "pyenv/versions/3.12.0/bin/python3"
    assert found["uv"] == tmp_path / "uv/cpython-3.13/bin/python3"


@posix
def test_broken_ones_are_left_out_with_their_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {
        "python3.10": "#!/bin/sh\necho no such library >&2; exit 127\n",
        "python3.11": "#!/bin/sh\necho hello\n",
        "python3.12": "not a program",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python3").symlink_to("nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    provider = host.HostProvider()
    assert provider.offers(Request(platform=base.here())).offers
    reasons = {path.name: reason for path, reason in provider.left_out.items() if path.parent == tmp_path}
    assert sorted(reasons) == ["python3.10", "python3.11", "python3.12"]
    assert "no such library" in reasons["python3.10"]
    assert "does not report what it is" in reasons["python3.11"]
    assert "cannot be started" in reasons["python3.12"]


@posix
def test_an_explicit_path_without_an_interpreter(tmp_path: Path, provider: host.HostProvider) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    for path, reason in ((tmp_path / "python", "exit status 3"), (tmp_path / "gone", "there is no interpreter at")):
        answer = provider.offers(Request(platform=base.here(), python=path))
        assert answer.offers == ()
        assert reason in answer.reason


@posix
def test_facts_are_cached_until_the_file_changes(tmp_path: Path, home: Path) -> None:
    log = tmp_path / "log"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho x >>"{log}"\nexec "{_own_base()}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)

    def starts() -> int:
        facts.identify(python)
        return len(log.read_text(encoding="utf-8").splitlines())

    first = starts()
    assert starts() == first
    python.write_text(python.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    second = starts()
    assert second > first
    for file in (home / "interpreters").iterdir():
        file.write_text("{half", encoding="utf-8")
    assert starts() > second


@posix
def test_an_interpreter_that_hangs_does_not_stop_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nsleep 600\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(facts, "QUERY_TIMEOUT", 0.5)
    with pytest.raises(WheelcheckError, match="did not end"):
        facts.identify(python)
