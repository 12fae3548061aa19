"""Methods to compare against: built in, or run on a folder."""

from evalkit.colorizers.anchors import builtin
from evalkit.colorizers.base import BUILTIN_METHODS, BuiltinMethod

__all__ = ["BUILTIN_METHODS", "BuiltinMethod", "builtin"]
