"""Timeouts on targets that are slower than this host."""

from __future__ import annotations

import time

from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.target import Target

#: Seconds beyond a test's own timeout after which the controller ends it from outside.
GRACE = 5.0

#: Seconds that a worker may take to start and say hello, before scaling.
START_TIMEOUT = 120.0


def scale(target: Target, settings: Settings) -> float:
    """Return the factor for timeouts on a target."""
    return 1.0 if target.runtime.capabilities.native_speed else settings.timeout_scale


def deadline(limit: float) -> float | None:
    """Return when a time from now ends, by the monotonic clock; ``None`` for a limit of 0, which is none."""
    return time.monotonic() + limit if limit else None
