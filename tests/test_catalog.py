"""The catalog pairs providers and backends, and finds native interpreters for work on behalf of slow ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.native import NativeBackend
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters import base
from pytest_wheelcheck.interpreters.base import Answer, Offer, Request, Starter
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Platform


def make_offer(minor: int, provider: str = "fake") -> Offer:
    return Offer(
        provider=provider,
        implementation="cpython",
        version=(3, minor, 5),
        free_threaded=False,
        platform=base.here(),
        libc_version=(2, 36),
        tags=(),
        how="made up",
    )


@dataclass
class FakeProvider:
    """Has given interpreters, whose files do not exist."""

    has: Sequence[Offer] = ()
    name: str = "fake"
    broken: bool = False
    asked: list[Request] = field(default_factory=list)

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        return False

    def offers(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer.of(self.has)

    def parts(self, offer: Offer) -> tuple[Part, ...]:  # noqa: ARG002 — part of the protocol
        return ()

    def get(self, offer: Offer, starter: Starter) -> Installation:  # noqa: ARG002 — part of the protocol
        if self.broken:
            raise RuntimeUnavailableError("the network is down")
        program = Path(f"/{self.name}/python3.{offer.version[1]}")
        return offer.installation(program, library=program.parent)


def native_python(*providers: FakeProvider, minor: int = 12) -> Path | None:
    return Catalog(lambda _: providers, [NativeBackend()]).native_python((3, minor), False)


def test_a_native_interpreter_comes_from_the_first_provider_that_has_it() -> None:
    first, second = FakeProvider([make_offer(11)]), FakeProvider([make_offer(12, "second")], name="second")
    third = FakeProvider([make_offer(12, "third")], name="third")
    assert native_python(first, second, third) == Path("/second/python3.12")
    assert not third.asked
    second.broken = True
    assert native_python(first, second, third) == Path("/third/python3.12")
    assert native_python(first, second, third, minor=13) is None


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param(replace(make_offer(12), rank=-1), id="named by the user"),
        pytest.param(replace(make_offer(12), prerelease=True), id="pre-release"),
        pytest.param(replace(make_offer(12), free_threaded=True), id="another build"),
        pytest.param(replace(make_offer(12), implementation="pypy"), id="another implementation"),
    ],
)
def test_interpreters_that_do_no_native_work(offer: Offer) -> None:
    assert native_python(FakeProvider([offer])) is None


@pytest.mark.skipif(sys.platform != "linux", reason="architectures of Linux")
def test_an_interpreter_that_the_host_starts_itself_is_native_whatever_its_architecture() -> None:
    """The kernel may start programs of another architecture (binfmt_misc)."""
    other = base.Offer.of_cpython(
        provider="fake",
        version=(3, 12, 5),
        free_threaded=False,
        platform=Platform(system="linux", architecture="s390x", libc="glibc"),
        libc_version=(2, 36),
        how="made up",
    )
    provider = FakeProvider([other, replace(other, runs_here=True)])
    offers, _ = Catalog(lambda _: [provider], backends()).ask(Request(platform=other.platform))
    assert [(offer.backend, offer.how) for offer in offers] == [
        ("qemu", "made up, emulated by QEMU"),
        ("native", "made up"),
    ]
