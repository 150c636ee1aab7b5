"""Interpreters and libraries from the packages of Debian and Ubuntu."""
