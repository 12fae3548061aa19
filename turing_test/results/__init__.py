"""What a study yields: export and monitoring."""
