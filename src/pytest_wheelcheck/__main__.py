"""``python -m pytest_wheelcheck``: the command ``wheelcheck``."""

import sys

from .cli import main

sys.exit(main())
