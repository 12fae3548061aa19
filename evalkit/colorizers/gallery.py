"""A page of photos before and after: for black-and-white photos that have no truth to be scored against."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image

from evalkit.arrays import Rgb8
from evalkit.errors import InputError
from evalkit.files import atomic_file
from evalkit.images.image_files import decode
from evalkit.images.image_pairs import find_image_files
from evalkit.images.places import PlaceLike, place_of

__all__ = ["write_gallery"]

SIDE = 480
"""Longer side of the pictures on the page, pixels."""

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ margin: 2rem auto; max-width: 1040px; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }}
figure {{ margin: 0 0 2.5rem; }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 8px; }}
img {{ width: 100%; height: auto; display: block; }}
figcaption {{ margin-top: .3rem; color: #555; overflow-wrap: anywhere; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #181818; color: #ddd; }} figcaption {{ color: #aaa; }} }}
</style></head><body>
<h1>{title}</h1>
<p>Each photo as it was given, and as it was coloured. The colours are plausible ones; nobody can know the true ones
from a black-and-white photo.</p>
"""


def write_gallery(page: Path, source: PlaceLike, target: Path, title: str) -> int:
    """Write one HTML file that loads nothing: every photo of a folder beside its colorizations.

    Photos that were not coloured, or cannot be read, are listed below with the reason.

    Parameters
    ----------
    page : Path
        The file.
    source, target : Path or str
        Folders of the photos (or their address), and of what ``evalkit colorize`` made of them (``NAME.png``, or ``NAME/0.png`` ...).
    title : str

    Returns
    -------
    int
        Number of photos shown.

    Raises
    ------
    InputError
        If no photo has a colorization.
    """
    parts = [_HEAD.format(title=html.escape(title))]
    shown = 0
    not_coloured = []
    place = place_of(source)
    for name, photo in find_image_files(place).items():
        results = list(_results(target, name))
        pictures = [(photo, "as given"), *((path, f"coloured {k}" if k else "coloured") for k, path in results)]
        try:
            images = "".join(
                f'<img alt="{html.escape(name)}, {what}" src="{_data_url(decode(path).rgb8)}">'
                for path, what in pictures
            )
        except InputError as error:  # one damaged scan must not cost the page of all others
            not_coloured.append(str(error))
            continue
        if not results:
            not_coloured.append(f"{name}: not coloured yet; the same command with --resume goes on.")
            continue
        shown += 1
        parts.append(f'<figure><div class="pair">{images}</div><figcaption>{html.escape(name)}</figcaption></figure>\n')
    if not shown:
        raise InputError(f"{target} holds no colorization of a photo of {place}")
    if not_coloured:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in not_coloured)
        parts.append(f"<h2>Not shown</h2>\n<ul>{items}</ul>\n")
    with atomic_file(page) as file:
        file.write(("".join(parts) + "</body></html>\n").encode())
    return shown


def _results(target: Path, name: str) -> Iterator[tuple[int, Path]]:
    single = target / f"{name}.png"
    if single.is_file():
        yield 0, single
    k = 0
    while (path := target / name / f"{k}.png").is_file():
        yield k + 1, path
        k += 1


def _data_url(rgb8: Rgb8) -> str:
    image = Image.fromarray(rgb8)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
