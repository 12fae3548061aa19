"""Training a network: data, objectives, and the loop."""
