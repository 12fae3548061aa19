"""Plates: dichromats cannot read them, others can, and the control is for everybody.

The dichromats here are those of G. M. Machado et al., "A Physiologically-based Model for Simulation of Color Vision
Deficiency", IEEE TVCG 15(6), 2009 (severity 1), which owe nothing to the cone responses that the plates are drawn with.
"""

import numpy as np
import pytest
from skimage.color import rgb2lab

from turing_test.sessions.screening import passes_screen
from turing_test.stimuli.plates import DIGITS, KINDS, SIZE, _glyphs, draw_plates

MACHADO = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
PLATES = draw_plates(b"k" * 32)


def linear(rgb8):
    value = rgb8 / 255.0
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)


def srgb(value):
    value = np.clip(value, 0, 1)
    return np.where(value > 0.0031308, 1.055 * value ** (1 / 2.4) - 0.055, 12.92 * value)


def separability(plate, eye=None):
    """How far number and ground lie apart in Lab, in standard deviations of the best linear direction (Fisher)."""
    pixels = linear(plate.rgb8)
    if eye is not None:
        pixels = pixels @ np.array(MACHADO[eye]).T
    lab = rgb2lab(srgb(pixels))
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    disc = (np.hypot(x, y) < SIZE / 2 - 12) & (plate.rgb8 != 128).any(axis=-1)
    number, ground = lab[disc & _glyphs(plate.answer)], lab[disc & ~_glyphs(plate.answer)]
    pooled = (np.cov(number.T) + np.cov(ground.T)) / 2 + 1e-6 * np.eye(3)
    gap = number.mean(0) - ground.mean(0)
    return float(np.sqrt(gap @ np.linalg.solve(pooled, gap)))


@pytest.mark.parametrize("plate", PLATES, ids=lambda plate: f"{plate.kind}-{plate.answer}")
class TestAPlate:
    def test_is_plain_to_ordinary_eyes(self, plate):
        assert separability(plate) > 2.5

    def test_hides_its_number_from_eyes_without_that_cone(self, plate):
        if plate.kind == "control":
            assert min(separability(plate, eye) for eye in MACHADO) > 3
        else:
            assert separability(plate, plate.kind) < 1
            # The other dichromat reads it: so passing takes the plates of both cones.
            assert separability(plate, {"protan": "deutan", "deutan": "protan"}[plate.kind]) > 2

    def test_is_a_number_on_the_grey_of_the_page(self, plate):
        assert plate.rgb8.shape == (256, 256, 3)
        assert (plate.rgb8[0, 0] == 128).all()
        assert len(plate.answer) == 2
        assert set(plate.answer) <= set(DIGITS)


def test_every_missing_cone_has_two_plates_and_the_control_comes_first():
    assert [plate.kind for plate in PLATES] == list(KINDS)
    assert KINDS[0] == "control"
    assert KINDS.count("protan") == KINDS.count("deutan") == 2


def test_any_two_digits_differ_in_two_blocks_or_more():
    shapes = list(DIGITS.values())
    distances = [sum(x != y for x, y in zip(a, b, strict=True)) for i, a in enumerate(shapes) for b in shapes[:i]]
    assert min(distances) >= 2


def test_studies_have_plates_of_their_own():
    again, other = draw_plates(b"k" * 32), draw_plates(b"l" * 32)
    assert all(np.array_equal(a.rgb8, b.rgb8) for a, b in zip(PLATES, again, strict=True))
    assert [plate.answer for plate in other] != [plate.answer for plate in PLATES]
    assert len({plate.answer for plate in PLATES}) == len(PLATES)


class TestPassing:
    NUMBERS = ("23", "45", "57", "72", "34")

    @pytest.mark.parametrize(
        ("answers", "passes"),
        [
            (("23", "45", "57", "72", "34"), True),
            ((" 23 ", "45", "57", "72", "34"), True),
            (("23", "45", "57", "72", "43"), True),  # one misreading
            (("23", "", "57", "", "34"), False),  # a protanope
            (("23", "45", "", "72", ""), False),  # a deuteranope
            (("", "45", "57", "72", "34"), False),  # the control: the screen is off, or nobody is looking
            (("", "", "", "", ""), False),
        ],
    )
    def test_dichromats_do_not(self, answers, passes):
        assert passes_screen(self.NUMBERS, answers) is passes

    def test_one_answer_a_plate_is_needed(self):
        with pytest.raises(ValueError, match="1 answer to 5 plates"):
            passes_screen(self.NUMBERS, ("23",))
