"""Small studies for the tests of the server: the files are sealed like real ones, but hold no photos."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from turing_test.stimuli.sealing import encode, seal
from turing_test.study.manifest import Manifest, Plate, Stimulus
from turing_test.study.protocol import Protocol
from turing_test.study.study_file import format_protocol
from turing_test.study.study_folder import Study, read_study

STIMULUS_BYTES = 700
BLOCK_LIST = "scenes.csv"
IMAGE_MS = 20  # of what these studies show: the tests take no time to look


def make_study(
    folder: Path,
    preset: str = "zhang2016",
    *,
    n_images: int = 16,
    n_methods: int = 2,
    block_sizes: Sequence[int] = (),
    **changes: Any,
) -> Study:
    """Write a study; by default 2 practice and 8 test trials of which 2 are vigilance, 2 in reserve.

    With `block_sizes` so many images, in order, are of block a, b and so on.
    """
    small: dict[str, Any] = {"practice_trials": 2, "test_trials": 8, "reserve_trials": 2, "size": 64}
    small |= {"first_blank_ms": 0, "blank_ms": 0, "image_ms": IMAGE_MS, "gap_ms": 0, "answer_delay_ms": 0}
    if preset in ("zhang2016", "simultaneous"):
        small["vigilance_trials"] = 2
    small["platforms"] = ("mturk", "prolific")
    if block_sizes:
        small["blocks"] = BLOCK_LIST
    protocol = Protocol.of_preset(preset, **{**small, **changes})
    images = tuple(f"photo {i:03}" for i in range(sum(block_sizes) or n_images))
    letters = "".join(chr(97 + i) * size for i, size in enumerate(block_sizes))
    blocks = {image: f"block {letter}" for image, letter in zip(images, letters, strict=False)}
    methods = tuple(f"method {chr(97 + i)}" for i in range(n_methods))
    stimuli: dict[str, Stimulus] = {}
    folder.mkdir(parents=True, exist_ok=True)

    def store(meaning: object) -> str:
        color = hashlib.sha256(repr(meaning).encode()).digest()
        png = encode(np.full((protocol.size, protocol.size, 3), list(color[:3]), np.uint8))
        content = seal(png, STIMULUS_BYTES, color)
        sha = hashlib.sha256(content).hexdigest()
        path = folder / "stimuli" / sha[:2] / f"{sha}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return sha

    for image in images:
        for role in ("truth", "vigilance", "catch"):
            stimuli[store((image, role))] = Stimulus(image, role)
        for method in methods:
            stimuli[store((image, method))] = Stimulus(image, "method", method)
    plates = tuple(Plate(store(("plate", i)), f"{i}2") for i in range(1, 6)) if protocol.color_vision else ()
    manifest = Manifest(
        study=protocol.name,
        stimulus_bytes=STIMULUS_BYTES,
        size=protocol.size,
        images=images,
        methods=methods,
        stimuli=stimuli,
        plates=plates,
        blocks=blocks,
    )
    if blocks:
        rows = "".join(f"{image},{block}\n" for image, block in blocks.items())
        (folder / BLOCK_LIST).write_text(f"image,block\n{rows}")
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "study.toml").write_text(format_protocol(protocol))
    (folder / "secret.key").write_text(secrets.token_hex(32))
    return read_study(folder)
