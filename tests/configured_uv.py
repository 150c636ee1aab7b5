"""uv as tests start it themselves: with the index and the certificates that pip is configured with.

Whoever configured pip only, in a file, has a working ``tox run``: the plugin translates that for uv, and so do these tests.
"""

from __future__ import annotations

import os

from pytest_wheelcheck.system import pip_config, uv_config


def environment() -> dict[str, str]:
    """Return the environment variables."""
    options = pip_config.read(os.environ)
    env = uv_config.environment(os.environ, options)
    if "index-url" in options and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & env.keys():
        env["UV_DEFAULT_INDEX"] = options["index-url"]
    return env
