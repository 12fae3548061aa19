"""From score tables and answers to rates, intervals, comparisons, figures and the report."""
