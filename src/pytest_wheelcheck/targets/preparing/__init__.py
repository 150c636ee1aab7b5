"""Prepare a target: environment, import check, executables, test tools."""
