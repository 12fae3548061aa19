"""Where a difference of colour begins to mean something: the limits that lint and the scoring run share."""

from __future__ import annotations

__all__ = ["GRAYSCALE_CHROMA", "KEPT_LIGHTNESS"]

GRAYSCALE_CHROMA = 1.0
"""An image whose every pixel has less chroma than this is grayscale: ab metrics mean nothing on it."""

KEPT_LIGHTNESS = 1.0
"""A mean |dL| above this says that a method changed the lightness; 8-bit rounding of a kept L stays below 0.5."""
