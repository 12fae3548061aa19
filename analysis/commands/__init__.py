"""Subcommands of `evalkit` for results; numpy and the rest are imported when a command runs."""
