"""Opens wheels safely and parses them: the ZIP container, the metadata, RECORD and the native files."""
