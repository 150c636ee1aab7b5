"""The catalog of a run: which interpreters are available, from which provider, run by which backend.

It is the only place where providers and backends meet: an offer is paired with the first backend that can run it, and an
installation is made runnable by the backend of its offer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_wheelcheck.backends.base import HOST_MACHINE, NATIVE, Backend, MachineProfile, Runtime
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.errors import RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.interpreters import base
from pytest_wheelcheck.interpreters.base import Answer, NativePython, Offer, Provider, Request, Unavailable, here
from pytest_wheelcheck.interpreters.directory.sysroots import Sysroot
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.published.pinned import PackageIndex
from pytest_wheelcheck.interpreters.registry import providers
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import pools


class Catalog:
    """Providers and backends of one run.

    :param make_providers: returns the providers, in the order of preference; its argument is :meth:`native_python`.
    :param backends: in the order of preference.
    :param native: returns native interpreters instead of :meth:`native_python`: those of another catalog.
    """

    def __init__(
        self,
        make_providers: Callable[[NativePython], Sequence[Provider]],
        backends: Sequence[Backend],
        native: NativePython | None = None,
    ) -> None:
        self._native = native
        self.providers = tuple(make_providers(self.native_python))
        self.backends = tuple(backends)

    def ask(self, request: Request) -> tuple[tuple[Offer, ...], tuple[Unavailable, ...]]:
        """Ask all providers for interpreters that one of the backends can run.

        :returns: the offers, the preferred ones first; and the reasons for what is missing, each with the name of its
            provider or backend.
        """
        backends, reasons = self._covering(request.platform)
        if not backends and request.python is None:
            return (), tuple(reasons)
        offers, further = base.ask(self.providers, request)
        return tuple(self._paired(offers, backends)), (*reasons, *further)

    def answers(self, request: Request) -> list[tuple[str, Answer]]:
        """Ask all providers, even those whose offers are not needed.

        :returns: the answers, each with the name of its provider; first the reasons of backends, with an empty name.
        """
        backends, reasons = self._covering(request.platform)
        refused = [("", Answer(unavailable=reason)) for reason in reasons]
        if not backends:
            return refused
        answers = [(provider.name, provider.offers(request)) for provider in self.providers]
        return [
            *refused,
            *((name, replace(answer, offers=tuple(self._paired(answer.offers, backends)))) for name, answer in answers),
        ]

    def _covering(self, platform: Platform) -> tuple[list[Backend], list[Unavailable]]:
        usable: list[Backend] = []
        reasons: list[Unavailable] = []
        for backend in self.backends:
            if backend.covers(platform):
                if reason := backend.unavailable(platform):
                    reasons.append(replace(reason, reason=f"{backend.name}: {reason.reason}"))
                else:
                    usable.append(backend)
        return usable, reasons

    def _paired(self, offers: Sequence[Offer], backends: Sequence[Backend]) -> list[Offer]:
        found = []
        for offer in offers:
            for backend in backends:
                if (suffix := backend.accepts(offer)) is not None:
                    found.append(replace(offer, backend=backend.name, how=offer.how + suffix))
                    break
        return found

    def backend(self, offer: Offer) -> Backend:
        """Return the backend that runs an offer of :meth:`ask`."""
        return next(backend for backend in self.backends if backend.name == offer.backend)

    def get(self, offer: Offer) -> Runtime:
        """Return the interpreter of an offer of :meth:`ask`, ready to run; download and make it first if necessary.

        :raises WheelcheckError: it is not available, although it was offered, or does not run here.
        """
        backend = self.backend(offer)
        provider = self.provider(offer)
        with pools.threads(1, "fetch") as pool:
            # The emulator and the interpreter are downloaded at the same time.
            fetched = pool.submit(backend.fetch, offer.platform)
            installation = provider.get(offer, backend)
            pools.wait_for([fetched])
        return backend.make_ready(installation, self.native_python)

    def native_python(self, version: tuple[int, int], free_threaded: bool) -> Path | None:  # noqa: FBT001
        """Return a native CPython, which installs and compiles for one that is slow to run; make it if necessary.

        Providers are asked one after another until one of them has it. Pre-releases do not count, because their bytecode
        may have another format. Neither do interpreters that the user named: they are under test, and this method may be
        called while they are being made.

        :returns: ``None`` if there is none.
        """
        if self._native is not None:
            return self._native(version, free_threaded)
        for offer in self._native_offers(version, free_threaded=free_threaded):
            with contextlib.suppress(WheelcheckError):
                return self.get(offer).python
        return None

    def _native_offers(self, version: tuple[int, int], *, free_threaded: bool) -> Iterator[Offer]:
        """Yield the interpreters that :meth:`native_python` tries. A provider is asked when the ones before it failed."""
        kind = ("cpython", version, free_threaded)
        request = Request(platform=here(), wanted=frozenset({kind}))
        native = [backend for backend in self._covering(request.platform)[0] if backend.name == NATIVE]
        for provider in self.providers:
            for offer in self._paired(provider.offers(request).offers, native):
                if offer.kind == kind and offer.rank >= 0 and not offer.prerelease:
                    yield offer

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """Return what :meth:`get` fetches for an offer of :meth:`ask`, or has fetched before. Fetches nothing.

        :raises RuntimeUnavailableError: what would run it is not available.
        """
        found = [*self.provider(offer).parts(offer), *(self.backend(offer).parts(offer.platform) or ())]
        if offer.platform != here():
            found += self.native_parts(offer)
        return tuple(dict.fromkeys(found))

    def native_parts(self, offer: Offer) -> tuple[Part, ...]:
        """Return what is fetched for the native interpreter that installs and compiles for an offer."""
        native = next(self._native_offers(offer.version[:2], free_threaded=offer.free_threaded), None)
        return () if native is None else self.provider(native).parts(native)

    def provider(self, offer: Offer) -> Provider:
        """Return the provider of an offer of :meth:`ask`."""
        return next(provider for provider in self.providers if provider.name == offer.provider)

    def on_machine(self, runtime: Runtime, profile: MachineProfile) -> Runtime:
        """Return the runtime on a machine.

        :raises RuntimeUnavailableError: no backend can emulate the machine.
        """
        if profile.name == HOST_MACHINE:
            return runtime
        for backend in self.backends:
            if found := backend.on_machine(runtime, profile):
                return found
        raise RuntimeUnavailableError(f"could not be checked: nothing on this host emulates the machine {profile.name}")


def make_catalog(
    *,
    offline: bool = False,
    index: str | None = None,
    find_links: Sequence[str] = (),
    apt_source: str = "",
    sysroots: Sequence[Sysroot] = (),
    providers_allowed: Sequence[str] = (),
    ignored: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Catalog:
    """Return the catalog of all providers and backends, whose functions describe the parameters.

    See :func:`pytest_wheelcheck.interpreters.registry.providers` and :func:`pytest_wheelcheck.backends.registry.backends`.
    """

    def make_providers(native_python: NativePython) -> Sequence[Provider]:
        return providers(
            native_python,
            offline=offline,
            index=index,
            find_links=find_links,
            apt_source=apt_source,
            sysroots=sysroots,
            names=providers_allowed,
        )

    package_index = PackageIndex(url=index, find_links=tuple(find_links))
    return Catalog(
        make_providers,
        backends(offline=offline, apt_source=apt_source, index=package_index, ignored=ignored, without=without),
    )
