"""Simulated observers who play a study over HTTP."""
