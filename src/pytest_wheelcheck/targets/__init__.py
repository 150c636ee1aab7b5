"""Plan targets, prepare each of them, and run the tests there. Knows no pytest."""
