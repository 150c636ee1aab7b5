"""Which providers a run may use, in which order, and how an assembled interpreter is labeled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import catalogs
import pytest
from builders import build_wheel
from nodes import Run

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters import registry
from pytest_wheelcheck.interpreters.base import Request, here

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
            "wheel: dist/some-1.0-py3-none-any.whl (cp314t-linux-* [[]assembled[]])",
            "  cp314t-linux-* (assembled from the published wheel freeze-core *)",
        ]
    )
    (wheel,) = json.loads((pytester.path / "report.json").read_text("utf-8"))["wheels"]
    (target,) = wheel["targets"]
    assert target["assembled"] is True
    assert target["source"].startswith("assembled from the published wheel")
    assert "assembled from the published wheel" in (pytester.path / "report.md").read_text("utf-8")
