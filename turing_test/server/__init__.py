"""Serving a study and keeping it well."""
