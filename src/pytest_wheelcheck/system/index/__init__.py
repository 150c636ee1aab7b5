"""The package index: which files it has, and how they are downloaded."""
