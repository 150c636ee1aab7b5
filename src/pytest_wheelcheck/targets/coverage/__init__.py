"""Coverage of all targets: what is measured there, how its data comes back, and the reports."""
