"""The command ``wheelcheck-witness`` prints the facts as JSON."""

from __future__ import annotations

import argparse
import json
import sys

from wheelcheck_witness import __version__, facts


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments; ``None`` for those of the process.
    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="wheelcheck-witness", description="Print the properties of this interpreter's machine as JSON."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.parse_args(argv)
    json.dump(facts(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
