"""``python -m pytest_wheelcheck``: the command ``wheelcheck``."""

import sys

from pytest_wheelcheck.cli.main import main

sys.exit(main())
