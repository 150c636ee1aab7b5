"""The command ``wheelcheck``."""
