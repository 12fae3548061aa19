"""The metrics, by name: one line a metric, plus whatever other packages registered."""
