"""How a program runs on a target: natively, through QEMU, under Wine."""
