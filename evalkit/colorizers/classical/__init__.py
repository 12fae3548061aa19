"""The baselines of the literature before networks, one file per method, each from its paper's equations."""
