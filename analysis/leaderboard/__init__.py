"""Runs and studies of many hands as one table with ranks: what may stand together, who can be told apart, the page."""
