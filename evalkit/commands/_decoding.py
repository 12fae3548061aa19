"""The options of every command that reads images: how large one may be, and what becomes of CMYK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from evalkit.images.image_files import DecodeOptions

__all__ = ["DecodeChoices", "decode_options", "make_decode_options", "max_unreadable_option"]

F = TypeVar("F", bound=Callable[..., Any])


def decode_options(function: F) -> F:
    """Add --max-megapixels and --convert-cmyk."""
    function = click.option(
        "--convert-cmyk",
        is_flag=True,
        help="Convert CMYK files to sRGB, through their own ICC profile where they have one, instead of refusing them.",
    )(function)
    return click.option(
        "--max-megapixels",
        type=click.FloatRange(0, min_open=True),
        default=None,
        metavar="N",
        help="Largest image that is read, in millions of pixels; by default 89.5. See the docs for the memory it takes.",
    )(function)


@dataclass(frozen=True, kw_only=True)
class DecodeChoices:
    """The options of the decoder as they were given."""

    max_megapixels: float | None
    convert_cmyk: bool

    def decode_options(self) -> DecodeOptions:
        """Options of the decoder."""
        return make_decode_options(self.max_megapixels, self.convert_cmyk)


def make_decode_options(max_megapixels: float | None, convert_cmyk: bool) -> DecodeOptions:
    """Options of the decoder from the words of the command line."""
    from evalkit.images.image_files import DecodeOptions

    return DecodeOptions(max_megapixels=max_megapixels, convert_cmyk=convert_cmyk)


def max_unreadable_option(function: F) -> F:
    """Add --max-unreadable."""
    return click.option(
        "--max-unreadable",
        type=click.IntRange(0),
        default=100,
        show_default=True,
        metavar="N",
        help="Files that may be passed over because they cannot be read; they are counted and named.",
    )(function)
