"""The trial table: reading, checking, excluding."""
