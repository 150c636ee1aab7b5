"""Which wheels are tested where: the release, and the targets of each wheel."""
