"""From folders of images to sealed stimuli: what participants see, and nothing besides.

Every image is decoded the same way (orientation and ICC profile applied, alpha and metadata dropped), cropped and
resized alike, encoded by one encoder, padded to one length (`turing_test.stimuli.sealing`) and stored under the SHA-256 of
its bytes. Files are immutable; the manifest alone says what they are.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.wording import agree, counted
from turing_test.stimuli.obvious_fakes import obvious_fake
from turing_test.stimuli.plates import draw_plates
from turing_test.stimuli.sealing import encode, nonce, seal, sealed_length
from turing_test.study.manifest import Manifest, Plate, Stimulus
from turing_test.study.protocol import Protocol
from turing_test.study.study_folder import stimulus_path

if TYPE_CHECKING:
    from evalkit.arrays import Rgb8
    from evalkit.colorizers.base import BuiltinMethod
    from evalkit.images.image_pairs import PairTable

__all__ = ["Sources", "build_stimuli"]

CACHED = 256  # photos kept decoded: donors of vigilance images come soon after, or before, their own turn


@dataclass(frozen=True)
class Sources:
    """Where the images of a study come from.

    Attributes
    ----------
    pairs : PairTable
        Files of the truth and of the methods with a folder.
    builtin : tuple of str
        Methods made here: ``gray``, ``random``, ``truth``.
    """

    pairs: PairTable[Path]
    builtin: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of all methods, sorted."""
        return tuple(sorted((*self.pairs.methods, *self.builtin)))


def build_stimuli(
    folder: Path,
    protocol: Protocol,
    sources: Sources,
    key: bytes,
    on_image: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Manifest:
    """Make all stimuli of a study.

    Parameters
    ----------
    folder : Path
        The study folder; files go to its ``stimuli/``. Files that are there already are kept, so that a study can
        be built anew while its manifest still names the old ones.
    protocol : Protocol
        Decides size, fit, seed, and whether there are vigilance images, catch images and plates.
    sources : Sources
    key : bytes
        The study's secret. The same key and images give the same files.
    on_image : callable, optional
        Called with the images done so far and their total.
    on_note : callable, optional
        Called with a sentence about what the researcher should know of the images.

    Returns
    -------
    Manifest
        It is not written: the caller does that last, once everything it names is there.

    Raises
    ------
    InputError
        When an image does not decode, or the sizes of a pair do not fit together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob(".building-*"):  # by a build that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    try:
        notes = _Notes(protocol.size)
        pngs = _encode_all(staging, protocol, sources, notes, on_image)
        plates = draw_plates(key) if protocol.color_vision else []
        plate_pngs = [encode(plate.rgb8) for plate in plates]
        length = sealed_length(max(max(map(len, plate_pngs), default=0), max(p.stat().st_size for _, p in pngs)))
        stimuli: dict[str, Stimulus] = {}
        for stimulus, path in pngs:
            stimuli[_store(folder, seal(path.read_bytes(), length, nonce(key, stimulus)))] = stimulus
        files = [
            _store(folder, seal(png, length, nonce(key, Stimulus(str(k), "plate")))) for k, png in enumerate(plate_pngs)
        ]
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if on_note is not None:
        for note in notes.sentences():
            on_note(note)
    return Manifest(
        study=protocol.name,
        stimulus_bytes=length,
        size=protocol.size,
        images=sources.pairs.names,
        methods=sources.methods,
        stimuli=stimuli,
        plates=tuple(Plate(file, plate.answer) for file, plate in zip(files, plates, strict=True)),
    )


class _Notes:
    """What happened to photos on the way, counted."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._enlarged: list[str] = []
        self._not_square: dict[str, list[str]] = {"crop": [], "warp": []}

    def look_at(self, image: str, height: int, width: int, fit: str) -> None:
        if min(height, width) < self._size:
            self._enlarged.append(image)
        if height != width:
            self._not_square[fit].append(image)

    def sentences(self) -> Iterator[str]:
        if self._enlarged:
            yield (
                f"{counted(len(self._enlarged), 'photo')} {agree(len(self._enlarged), 'is', 'are')} smaller than {self._size} pixels "
                f"and {agree(len(self._enlarged), 'was', 'were')} enlarged (first "
                f"{self._enlarged[0]}); enlarged photos look soft, so set size lower or leave them out."
            )
        for fit, done in (("crop", "cut to their centre"), ("warp", "scaled to a square, out of proportion")):
            if names := self._not_square[fit]:
                yield (
                    f"{counted(len(names), 'photo')} {agree(len(names), 'is', 'are')} not square and {agree(len(names), 'was', 'were')} "
                    f'{done} (fit = "{fit}", first {names[0]}); metrics see the '
                    f"same pixels with evalkit score --size {self._size} --fit {fit}."
                )


def _encode_all(
    staging: Path,
    protocol: Protocol,
    sources: Sources,
    notes: _Notes,
    on_image: Callable[[int, int], None] | None,
) -> list[tuple[Stimulus, Path]]:
    """Write every image as PNG, not yet sealed: the common length is known only after the last."""
    n = len(sources.pairs) * (1 + len(sources.methods) + (protocol.vigilance_trials > 0) + (protocol.catch_trials > 0))
    made = []
    for k, (stimulus, rgb8) in enumerate(_images(protocol, sources, notes), start=1):
        path = staging / f"{k}.png"
        path.write_bytes(encode(rgb8))
        made.append((stimulus, path))
        if on_image is not None:
            on_image(k, n)
    return made


def _images(protocol: Protocol, sources: Sources, notes: _Notes) -> Iterator[tuple[Stimulus, Rgb8]]:
    from evalkit.colorizers.anchors import builtin

    pairs = sources.pairs

    @lru_cache(maxsize=CACHED)
    def truth(i: int) -> tuple[Rgb8, tuple[int, int]]:
        return _prepare(pairs.truth[i], protocol)

    def colorize(method: BuiltinMethod, i: int) -> Rgb8:
        donor = method.donor(i)
        return method.colorize(truth(i)[0], None if donor is None else truth(donor)[0])[0]

    made_here = {name: builtin(name, pairs.names, protocol.seed) for name in sources.builtin}
    vigilance = builtin("random", pairs.names, protocol.seed) if protocol.vigilance_trials else None
    for i, image in enumerate(pairs.names):
        real, real_size = truth(i)
        notes.look_at(image, *real_size, protocol.fit)
        yield Stimulus(image, "truth"), real
        for method, paths in pairs.methods.items():
            fake, fake_size = _prepare(paths[i], protocol)
            _check_sizes(image, method, real_size, fake_size, protocol)
            yield Stimulus(image, "method", method), fake
        for name, colorizer in made_here.items():
            yield Stimulus(image, "method", name), colorize(colorizer, i)
        if vigilance is not None:
            yield Stimulus(image, "vigilance"), colorize(vigilance, i)
        if protocol.catch_trials:
            yield Stimulus(image, "catch"), obvious_fake(real)


def _prepare(path: Path, protocol: Protocol) -> tuple[Rgb8, tuple[int, int]]:
    """Pixels at the study's size, and height and width of the file."""
    from evalkit.images.image_files import decode, resize

    rgb8 = decode(path).rgb8
    height, width = rgb8.shape[:2]
    return resize(rgb8, protocol.size, protocol.fit), (height, width)


def _check_sizes(image: str, method: str, real: tuple[int, int], fake: tuple[int, int], protocol: Protocol) -> None:
    """Refuse pairs that would show different parts of the scene, or one image blurred alone."""
    if real == fake:
        return
    where = (
        f"image '{image}' is {real[1]} x {real[0]} pixels in the truth and {fake[1]} x {fake[0]} in method '{method}'"
    )
    if min(*real, *fake) < protocol.size:
        raise InputError(
            f"{where}; enlarging one of them to {protocol.size} would blur it and give the pair away: allowed are equal "
            "sizes, or both at least as large as size."
        )
    # One pixel of rounding on the long side is what resizing tools differ by.
    (h, w), (other_h, other_w) = real, fake
    if protocol.fit == "crop" and abs(w * other_h - h * other_w) > max(h, w, other_h, other_w):
        raise InputError(
            f"{where}; cutting out the centre would show different parts of the scene: make their shapes agree, or set "
            'fit = "warp" if the method\'s files were scaled to a square.'
        )


def _store(folder: Path, data: bytes) -> str:
    """Write a file under its SHA-256, unless it is there unharmed."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = stimulus_path(folder, sha256)
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return sha256
