"""The ssh backend: runs targets on another computer (a board), which needs only sshd, a POSIX shell and Python."""
