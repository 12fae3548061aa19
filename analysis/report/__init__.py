"""The paper's table, figures, galleries and the report."""
