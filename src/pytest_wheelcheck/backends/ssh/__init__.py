"""The ssh backend: runs targets on a board (a machine reached by ssh), which needs only sshd, a POSIX shell and Python."""
