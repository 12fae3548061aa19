"""Subcommands of `evalkit`, one file each; what is heavy they import when they run."""
