"""Open wheels safely and parse them, their RECORD and their native files."""
