"""The pytest side: hooks, options, nodes, the run."""
