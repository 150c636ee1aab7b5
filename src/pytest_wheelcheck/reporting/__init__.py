"""Reports: pure functions of outcomes."""
