"""Scores of image colorizations: from folders of images to numbers with intervals and signatures.

>>> import evalkit
>>> scores = evalkit.score("truth/", {"mine": "out/mine", "gray": None})  # doctest: +SKIP
>>> scores["mine", "ab_auc"].value  # doctest: +SKIP
0.9157

Rooms, from the ground up. Each imports only from rooms before it in this list (``tests/test_imports.py`` holds that):

- ``errors``, ``arrays``, ``files``, ``cached_files``, ``release``, ``text_formats``, ``wording``, ``shown``, ``needs``, ``plotting``, ``progress``: what every room uses
- ``color``: CIE Lab, ab classes, the kernel that counts ab errors
- ``images``: image files, pairs of them, what is wrong in a folder
- ``datasets``: ctest10k, synsets, labels
- ``networks``: weights, classifiers, devices
- ``metrics``: from a pair to statistics, from summed statistics to a score
- ``resampling``: intervals and tests of scores
- ``colorizers``: what a method is; the built-in ones
- ``scoring``: the run over folders, its store, its results
- ``torchmetrics``: metrics as `torchmetrics.Metric`, for training loops
- ``hints``: points and patches of true colour for colorizers that take them
- ``colorizers.classical``: baselines from the literature
- ``colorizers.learned``: networks that colour
- ``colorizers.training``: how they are made
- ``colorizers.probing``: what linear classifiers read off their layers
- ``demo``: photos and a figure for the first minute
- ``command_groups``, ``cli``, ``__main__``: the command line, which finds commands by their entry points
- ``commands``: one module per command
"""

from __future__ import annotations

import lazy_loader

from evalkit.release import release

# Each name is loaded on first use, so that ``import evalkit`` costs nothing; ``__init__.pyi`` says where each lives.
_loaded, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """A public name, loaded; or the version, which is read from the installed metadata when somebody asks."""
    return release() if name == "__version__" else _loaded(name)
