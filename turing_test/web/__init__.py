"""The web page: what participants and researchers see."""
