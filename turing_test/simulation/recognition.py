"""What an image of a session shows: found with the study folder and its secret, which no participant has."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from turing_test.sessions.tokens import image_noise
from turing_test.stimuli.session_bytes import PixelCache, Pixels, decode_png, read_stimulus
from turing_test.study.manifest import Stimulus
from turing_test.study.study_folder import Study

__all__ = ["Recognition"]

SAMPLED = 512  # colour values compared first


class Recognition:
    """Knows all stimuli of a study; made once for all its simulated observers.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._cache = PixelCache()
        # Of stimuli with the same pixels: the photo where fakes are to be told from it (a gray photo's colorization may have its
        # own pixels), else the method, since with naturalness and preference the photo may be one.
        preferred = "truth" if study.protocol.real_vs_fake else "method"
        self._shas = sorted(study.manifest.stimuli, key=lambda sha: study.manifest.stimuli[sha].role != preferred)
        self._lock = threading.Lock()
        self._samples: NDArray[np.int16] | None = None
        self._places: NDArray[np.int64] = np.empty(0, np.int64)

    def stimulus(self, png: bytes, image: str) -> Stimulus | None:
        """The stimulus that was sent under an image's token; None when it is none of the study.

        Parameters
        ----------
        png : bytes
            As it came.
        image : str
            Token of the image, the last part of its address.
        """
        pixels = decode_png(png)
        seed = image_noise(self._study.key, image)
        with self._lock:
            if self._samples is None:
                self._sample(pixels.size)
            samples = self._samples
        assert samples is not None
        if self._places[-1] >= pixels.size:
            return None
        is_near = np.abs(samples - pixels.reshape(-1)[self._places]) <= 1  # the noise changes no value by more
        for k in np.flatnonzero(is_near.all(axis=1)):
            if np.array_equal(self._read(self._shas[k]).with_noise(seed), pixels):
                return self._study.manifest.stimuli[self._shas[k]]
        return None

    def _read(self, sha: str) -> Pixels:
        return self._cache.read(self._study.stimulus_path(sha))

    def _sample(self, size: int) -> None:
        self._places = np.linspace(0, size - 1, min(SAMPLED, size)).astype(np.int64)
        images = (read_stimulus(self._study.stimulus_path(sha)) for sha in self._shas)
        self._samples = np.array([image.reshape(-1)[self._places] for image in images], np.int16)
