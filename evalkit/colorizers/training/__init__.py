"""Training a network: data, objectives, the loop, and probes of what it learned."""
