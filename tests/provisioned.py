"""What tests need from outside of this project: a skip where it is missing, and a failure where it was promised.

``WHEELCHECK_REQUIRE`` lists what must not be missing, separated by commas: names of providers (``debian``, ``published``,
``uv``), of backends (``wine``), ``sandbox``, ``boards`` (machines that are reached over ssh), or ``all``. Without it, a
broken provider would leave a run of the tests green.
"""

from __future__ import annotations

import os
import re

import pytest

VARIABLE = "WHEELCHECK_REQUIRE"

#: What the variable may name.
NAMES = frozenset({"all", "boards", "debian", "published", "sandbox", "uv", "wine"})


def required() -> frozenset[str]:
    """Return what must not be missing.

    :raises pytest.UsageError: the variable names something unknown, which would then never be required.
    """
    names = frozenset(filter(None, re.split(r"[\s,]+", os.environ.get(VARIABLE, ""))))
    if unknown := names - NAMES:
        raise pytest.UsageError(f"{VARIABLE}: {', '.join(sorted(unknown))} is none of {', '.join(sorted(NAMES))}")
    return names


def missing(name: str, reason: str) -> BaseException:
    """Return what a test raises to be skipped, or to fail if what is missing is required.

    :param name: one of :data:`NAMES`.
    """
    assert name in NAMES
    if required() & {name, "all"}:
        return pytest.fail.Exception(f"{VARIABLE} requires {name}, which is not available: {reason}", pytrace=False)
    return pytest.skip.Exception(f"{name} is not available here: {reason}")
