"""Colour hints: small patches of a photo whose true colour a user, or a protocol, gives away."""
