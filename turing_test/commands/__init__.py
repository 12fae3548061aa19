"""Subcommands of `evalkit study`; Flask, SQLAlchemy and numpy are imported when a command runs."""
