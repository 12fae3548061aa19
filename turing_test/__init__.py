"""The timed real-vs-fake test."""
