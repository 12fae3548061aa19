"""Image files: reading every kind, pairing folders by name, and what to check before a score."""
