"""Whether the cache has become large. A run looks once a day, at its end."""

from __future__ import annotations

import contextlib
import os
import time

from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.sizes import parse_size

#: The environment variable with the size above which a run suggests to prune; it overrides the ini key.
VARIABLE = "WHEELCHECK_CACHE_SIZE"

#: Seconds between two looks, and seconds that one may spend on entries without a recorded size.
_INTERVAL, _PATIENCE = 24 * 3600.0, 0.2

#: The file whose time is that of the last look.
_STAMP = "size-checked"


def limit(configured: str) -> int:
    """Return the size in bytes above which a run suggests to prune; 0 for never.

    :param configured: the value of the ini key.
    :raises ValueError: the value is not a size.
    """
    text = os.environ.get(VARIABLE) or configured
    return 0 if text.strip() == "0" else parse_size(text)


def suggestion(limit: int) -> str:
    """Return a line for the user if the cache is larger than *limit*; else, and within a day of the last look, nothing."""
    stamp = cache.root() / _STAMP
    with contextlib.suppress(OSError):
        if limit and time.time() - (stamp.stat().st_mtime if stamp.exists() else 0.0) > _INTERVAL:
            stamp.touch()
            size = cache.quick_size(_PATIENCE)
            if size > limit:
                most = f"{limit / 1e9:g}GB"
                return (
                    f"the cache has {size / 1e9:.1f} GB; to remove what was not used for the longest time: "
                    f"wheelcheck cache prune --max-size {most}"
                )
    return ""
