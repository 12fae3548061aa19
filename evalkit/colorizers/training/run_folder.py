"""The folder of a training run: what is read from an earlier part of the run, and what is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.colorizers.learned.checkpoints import Checkpoint, load_tensors, save_tensors
from evalkit.colorizers.training.panels import write_panel
from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.images.image_files import DEFAULT_OPTIONS, DecodeOptions
from evalkit.images.places import ImageFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from evalkit.colorizers.training.data import PhotoSurvey
    from evalkit.colorizers.training.validation import Validation

__all__ = ["LogLine", "RunFolder"]

CONTENT = frozenset({"weights.pt", "state.pt", "log.csv", "photos.csv", "prior.json", "panels"})
"""What a run leaves in its folder."""

LOG_HEADER = "step,loss,learning_rate,images_per_second,waiting_share,ab_auc,ab_auc_rebal\n"


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of the log: means since the line before.

    Attributes
    ----------
    step : int
        Updates done.
    steps : int
        Updates in all.
    loss : float
    learning_rate : float
    images_per_second : float
        Of this process.
    waiting_share : float
        Share of the time that the device waited for data, 0..1.
    validation : Validation, optional
        Scores on the validation photos after this step, where they were taken.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_second: float
    waiting_share: float
    validation: Validation | None = None

    def as_csv(self) -> str:
        """The line, as it stands below the header of ``log.csv``."""
        scores = "," if self.validation is None else f"{self.validation.ab_auc:.6f},{self.validation.ab_auc_rebal:.6f}"
        return (
            f"{self.step},{self.loss:.6f},{self.learning_rate:.4g},{self.images_per_second:.1f},"
            f"{self.waiting_share:.3f},{scores}\n"
        )


class RunFolder:
    """Files of one run.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights = path / "weights.pt"
        self.state = path / "state.pt"
        self.log = path / "log.csv"
        self.panels = path / "panels"

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or refuse to write into one that holds something.

        Raises
        ------
        InputError
            If it holds a run and neither flag is given, or other files and the run is to be replaced.
        """
        content = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        if content and not resume and not overwrite:
            raise InputError(
                f"the output folder {self.path} is not empty; continue the run there with --resume, or replace it with "
                "--overwrite"
            )
        if overwrite and content - CONTENT:
            raise InputError(
                f"{self.path} holds {min(content - CONTENT)}, which no training wrote: --overwrite replaces a run alone"
            )
        self.panels.mkdir(parents=True, exist_ok=True)

    def saved(self) -> dict[str, Any] | None:
        """What `save` wrote last, if it did.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        return load_tensors(self.state) if self.state.is_file() else None

    def begin(self, survey: PhotoSurvey, first_step: int, *, overwrite: bool) -> None:
        """Write what is known before the first step; drop what comes again, or belongs to a run that is replaced."""
        if overwrite:
            for path in (self.state, self.weights, *self.panels.glob("*.png")):
                path.unlink(missing_ok=True)
        write_atomically(self.path / "photos.csv", survey.to_csv())
        write_atomically(self.path / "prior.json", survey.prior.to_json())
        # Lines of steps that a killed run had done after its last save will come again.
        lines = self.log.read_text().splitlines(keepends=True)[1:] if self.log.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) <= first_step]
        write_atomically(self.log, LOG_HEADER + "".join(kept))

    def append(self, line: LogLine) -> None:
        """Add a line to the log."""
        with self.log.open("a") as file:
            file.write(line.as_csv())

    def draw(
        self,
        step: int,
        photos: Sequence[ImageFile],
        checkpoint: Checkpoint,
        device: torch.device,
        decoding: DecodeOptions = DEFAULT_OPTIONS,
    ) -> None:
        """Write a panel of photos: gray, coloured by the checkpoint, true."""
        write_panel(self.panels / f"{step:07d}.png", photos, checkpoint, device, decoding)

    def save(self, record: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        """Write the state to continue from, and the weights unless better ones are kept."""
        # The checkpoint first: whoever finds the state of a step finds its weights.
        if checkpoint is not None:
            checkpoint.save(self.weights)
        save_tensors(record, self.state)
