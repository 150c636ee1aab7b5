"""Where interpreters come from: providers, archives, compatibility tags."""
