"""Run the tests of targets: the channel to a worker, one target, several targets."""
