"""Reading a whole set of photos of which a few may be unreadable: these are counted and named, up to a limit.

Where a score depends on a file, it is refused by name. Where a set is surveyed, for its class shares or for training,
one bad file of a million (ImageNet's training set has 22 in CMYK) must not cost the hours before it.
"""

from __future__ import annotations

from pathlib import Path

from evalkit.errors import InputError
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodedImage, DecodeOptions, decode
from evalkit.images.places import ImageFile, ImagePlace, name_below
from evalkit.wording import counted

__all__ = ["MAX_UNREADABLE", "Survey"]

MAX_UNREADABLE = 100
"""Files that a survey passes over before it gives up."""


class Survey:
    """A decoder that keeps a list of what it could not read.

    Parameters
    ----------
    folder : Path or ImagePlace
        The folder that is surveyed; the list names files relative to it.
    limit : int
        Most files that may be unreadable.
    options : DecodeOptions, optional

    Attributes
    ----------
    unreadable : dict of str to str
        Why, by path below the folder.
    """

    def __init__(
        self, folder: Path | ImagePlace, limit: int = MAX_UNREADABLE, options: DecodeOptions = DEFAULT_OPTIONS
    ) -> None:
        self.folder = folder
        self.limit = limit
        self.options = options
        self.unreadable: dict[str, str] = {}

    def decode(self, path: ImageFile) -> DecodedImage | None:
        """The image, or None where it cannot be read.

        Raises
        ------
        InputError
            When more files than the limit allows cannot be read; names the last one and says why.
        """
        try:
            return decode(path, self.options)
        except InputError as error:
            name = name_below(self.folder, path)
            self.unreadable[name] = str(error)
            if len(self.unreadable) > self.limit:
                raise InputError(
                    f"{self.folder}: {counted(len(self.unreadable), 'file')} cannot be read, more than the "
                    f"{self.limit} that may be passed over (--max-unreadable); the last of them: {error}"
                ) from error
            return None

    def notice(self) -> str | None:
        """One sentence that counts and names the files that were passed over; None where there are none."""
        if not self.unreadable:
            return None
        first = next(iter(self.unreadable.values()))
        return f"{counted(len(self.unreadable), 'file')} passed over, since unreadable: {first}"
