"""Intervals and tests over images, by resampling."""
