"""Colour: sRGB and CIE Lab, the ab classes, and the kernel that counts ab errors."""
