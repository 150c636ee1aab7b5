"""A catalog that makes nothing: for questions about what a run would do, before it downloads anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_wheelcheck.backends.base import HOST_MACHINE, MachineProfile, Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import Answer, Offer, Request, Unavailable
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.system import cache


class PreviewCatalog(Catalog):
    """Plans as another catalog does. Its runtimes stand for those that a run would make; they cannot be run.

    The offer that is tried first counts. A run may need another one, if that cannot be downloaded.

    :param catalog: of the run.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.providers, self.backends = catalog.providers, catalog.backends
        self._catalog = catalog
        self._made: dict[Path, tuple[Offer, tuple[Part, ...]]] = {}

    def ask(self, request: Request) -> tuple[tuple[Offer, ...], tuple[Unavailable, ...]]:
        """See :meth:`.Catalog.ask`."""
        return self._catalog.ask(request)

    def answers(self, request: Request) -> list[tuple[str, Answer]]:
        """See :meth:`.Catalog.answers`."""
        return self._catalog.answers(request)

    def get(self, offer: Offer) -> Runtime:
        """Return what stands for the interpreter of an offer.

        :raises RuntimeUnavailableError: what would run it is not available.
        """
        # One path for each interpreter, as of those that are made.
        python = Path(offer.provider, cache.digest(offer.key, offer.platform.name))
        self._made[python] = offer, self._catalog.parts(offer)
        installation = offer.installation(python, library=python.parent)
        return Runtime(installation=installation, python=python, backend=self.backend(offer))

    def on_machine(self, runtime: Runtime, profile: MachineProfile) -> Runtime:
        """Return what stands for a runtime on a machine.

        :raises RuntimeUnavailableError: no backend can emulate the machine.
        """
        if profile.name == HOST_MACHINE:
            return runtime
        for backend in self.backends:
            parts = backend.parts(runtime.platform, profile)
            if parts is not None:
                offer, others = self._made[runtime.python]
                python = Path(f"{runtime.python}-{profile.name}")
                self._made[python] = offer, tuple(dict.fromkeys((*others, *parts)))
                how = f"{offer.how}, as {profile.name}"
                return replace(
                    runtime, python=python, backend=backend, installation=replace(runtime.installation, how=how)
                )
        raise RuntimeUnavailableError(f"could not be checked: nothing on this host emulates the machine {profile.name}")

    def offer(self, runtime: Runtime) -> Offer:
        """Return the offer that one of its runtimes stands for."""
        return self._made[runtime.python][0]

    def parts_of(self, runtime: Runtime) -> tuple[Part, ...]:
        """Return what is fetched for one of its runtimes, or was fetched before."""
        return self._made[runtime.python][1]
