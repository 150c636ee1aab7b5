"""The QEMU user-mode backend."""
