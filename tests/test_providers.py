"""Which providers a run may use, in which order, and how an assembled interpreter is labeled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import catalogs
import provisioned
import pytest
from builders import build_wheel
from nodes import Run
from test_targets import a_wheel

from pytest_wheelcheck.backends.catalog import make_catalog
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters import registry
from pytest_wheelcheck.interpreters.base import OLDEST, Request, here
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.targets.planning import plan

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_what_is_assembled_comes_last() -> None:
    found = registry.providers(catalogs.no_python)
    assert [provider.name for provider in found] == list(registry.NAMES)
    assert registry.NAMES.index("published") > registry.NAMES.index("debian") > registry.NAMES.index("uv")


def test_names_of_providers() -> None:
    assert registry.parse_names([]) == ()
    assert registry.parse_names(["debian, host", "debian"]) == ("debian", "host")
    with pytest.raises(UsageError, match="conda is not a provider"):
        registry.parse_names(["host,conda"])


def test_the_order_of_the_user(tmp_path: Path) -> None:
    request = Request(platform=here(), wanted=frozenset())
    for names in (("host",), ("debian", "host"), ("host", "debian")):
        found = registry.providers(catalogs.no_python, offline=True, names=names)
        assert tuple(provider.name for provider in found) == names
        for rank, provider in enumerate(found):
            assert {offer.rank for offer in provider.offers(request).offers} <= {rank}


def test_a_run_uses_allowed_providers_only(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "some", files={"some.py": ""})
    usual = ("--wheel=dist", "--wheel-select=WHL201", f"--wheel-python={MINOR}", "-rA")
    assert run_wheels(*usual, "--wheel-providers=host").ret == pytest.ExitCode.OK
    # The option overrides the ini key.
    pytester.makeini("[pytest]\nwheel_providers = uv\n")
    assert run_wheels(*usual, "--wheel-providers=host", "--wheel-offline").ret == pytest.ExitCode.OK
    result = run_wheels(*usual, "--wheel-offline")
    assert f"({sys.executable}" not in result.stdout.str()
    result = run_wheels(*usual, "--wheel-providers=conda")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*conda is not a provider*", "*host, uv, debian, published, windows*"])


@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="the interpreters of published wheels are for Linux")
def test_an_assembled_interpreter_is_labeled(pytester: pytest.Pytester, run_wheels: Run) -> None:
    build_wheel(pytester.path / "dist", "some", files={"some.py": ""})
    result = run_wheels(
        *("--wheel=dist", "--wheel-select=WHL201", "--wheel-python=3.14t", "--wheel-providers=published"),
        *("--wheel-report=report.json", "--wheel-report=report.md"),
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "wheel: dist/some-1.0-py3-none-any.whl (cp314t-linux-* [[]native, published, assembled[]])",
            "  cp314t-linux-* (assembled from the published wheel freeze-core *)",
        ]
    )
    (wheel,) = json.loads((pytester.path / "report.json").read_text("utf-8"))["wheels"]
    (target,) = wheel["targets"]
    assert target["assembled"] is True
    assert target["source"].startswith("assembled from the published wheel")
    assert "assembled from the published wheel" in (pytester.path / "report.md").read_text("utf-8")


def host_versions() -> dict[tuple[int, int], str]:
    """Return the CPython versions of this host, with the path of the preferred interpreter of each."""
    offers = HostProvider().offers(Request(platform=here())).offers
    plain = [offer for offer in offers if offer.implementation == "cpython" and not offer.free_threaded]
    return {offer.version[:2]: offer.key for offer in sorted(plain, key=lambda offer: offer.version)}


def test_interpreters_of_the_host_are_preferred(pytester: pytest.Pytester, run_wheels: Run) -> None:
    """Without --wheel-providers, downloads are for the versions that the host lacks."""
    build_wheel(pytester.path / "dist", "some", files={"some.py": ""})
    host = {version: path for version, path in host_versions().items() if version >= OLDEST}
    chosen = sorted({sys.version_info[:2], max(host)})
    named = ",".join(".".join(map(str, version)) for version in chosen)
    options = ("--wheel=dist", "--wheel-select=WHL201", "--wheel-report=report.json")
    assert run_wheels(*options, f"--wheel-python={named}").ret == pytest.ExitCode.OK
    (wheel,) = json.loads((pytester.path / "report.json").read_text("utf-8"))["wheels"]
    sources = [(target["assembled"], target["source"].partition(" (")[0]) for target in wheel["targets"]]
    assert sources == [(False, host[version]) for version in chosen]


@pytest.mark.network
@pytest.mark.skipif(sys.platform != "linux", reason="the interpreters of published wheels are for Linux")
def test_auto_prefers_a_real_interpreter_to_an_assembled_newer_one() -> None:
    """With the interpreters of this host and of published wheels. See test_targets.py for the rule."""
    catalog = make_catalog(providers_allowed=("host", "published"))
    offers, reasons = catalog.ask(Request(platform=here()))
    real = host_versions()
    assembled = {offer.version[:2] for offer in offers if offer.assembled and not offer.free_threaded}
    pairs = [version for version in real if (version[0], version[1] + 1) in assembled - set(real)]
    if not pairs:
        raise provisioned.missing("published", f"none is one version newer than one of the host: {reasons}")
    (major, minor) = max(pairs)
    wheel = a_wheel("py3-none-any", requires_python=f">={major}.{minor},<{major}.{minor + 2}")
    for specs, expected in (
        ("auto", [(major, minor, False)]),
        ("all", [(major, minor, False), (major, minor + 1, True)]),
        (f"{major}.{minor + 1}", [(major, minor + 1, True)]),
    ):
        targets, without = plan.plan([wheel], [specs], catalog)
        assert not without
        found = [target.runtime.installation for target in targets]
        plain = [(*each.version[:2], each.assembled) for each in found if not each.free_threaded]
        assert plain == expected, specs
