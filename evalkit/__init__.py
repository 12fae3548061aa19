"""Scores of image colorizations."""
