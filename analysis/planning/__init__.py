"""How many participants a study needs."""
