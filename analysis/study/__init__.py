"""The labelled layer: rates, differences and breakdowns of a whole study."""
