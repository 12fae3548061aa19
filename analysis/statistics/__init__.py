"""Statistics on arrays only: rates, comparisons, bootstrap, diagnostics."""
