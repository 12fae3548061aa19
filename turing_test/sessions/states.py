"""The states of a session, by name."""

from __future__ import annotations

__all__ = ["ACTIVE", "ENDED"]

ACTIVE = ("consented", "screened", "practice", "test")
"""States of a session that goes on."""

ENDED = ("completed", "incomplete", "declined", "screened_out", "incompatible", "expired", "withdrawn", "full")
"""States of a session that is over; each is also the outcome told to the recruiting platform."""
