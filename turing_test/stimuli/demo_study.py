"""A study to look at: sixty crops of well-known photos, and two desaturations of them as methods.

The photos ship with scikit-image and scikit-learn (`evalkit.demo.photos`); nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from turing_test.stimuli.create import create_study
from turing_test.study.study_folder import Study

__all__ = ["DEMO_SETTINGS", "create_demo_study"]

DEMO_SETTINGS = {"name": "demo", "practice_trials": 3, "test_trials": 12, "vigilance_trials": 2, "reserve_trials": 5}
"""A session of two minutes instead of ten."""


def create_demo_study(folder: Path, on_image: Callable[[int, int], None] | None = None) -> Study:
    """Make the demo's study in a new folder.

    Parameters
    ----------
    folder : Path
    on_image : callable, optional
        Called with the images done so far and their total.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If scikit-image or scikit-learn is not installed, or the folder holds something else.
    """
    from evalkit.demo.photos import DESATURATIONS, write_folders

    with tempfile.TemporaryDirectory(prefix="evalkit-demo-") as images:
        write_folders(Path(images))
        methods = {name: Path(images) / name for name in DESATURATIONS}
        created = create_study(folder, Path(images) / "truth", methods, settings=DEMO_SETTINGS, on_image=on_image)
    return created.study
