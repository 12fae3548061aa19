"""The command ``evalkit demo``: from photos that everybody has to a table and a picture."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

__all__ = ["demo"]


@click.command(short_help="Score 60 crops of well-known photos, draw the curves.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for images, scores and the picture; an earlier demo there is replaced.",
)
@click.pass_context
def demo(ctx: click.Context, out: Path) -> None:
    """Show the whole way, from photos to a table of scores and a picture of the curves.

    60 fixed crops of photos that ship with scikit-image and scikit-learn stand for the truth. A mild and a
    strong desaturation of them (a and b times 0.8 and 0.4) stand for colorization methods, and are scored
    beside the anchors gray and random. Nothing is downloaded.
    """
    from evalkit.commands._shared import progress_bar
    from evalkit.demo import PHOTOS, write_folders
    from evalkit.demo_figure import draw_curves, require_matplotlib

    require_matplotlib()  # before any work, not after it
    click.echo(f"Cutting crops of {len(PHOTOS)} photos and desaturating them ...")
    with progress_bar("cutting", "crops") as show:
        n_crops = write_folders(out, show)

    arguments = ["--truth", f"{out / 'truth'}", "--method", "gray", "--method", "random"]
    for name in ("mild", "strong"):
        arguments += ["--method", f"{name}={out / name}"]
    arguments += ["--out", f"{out / 'scores'}", "--overwrite"]
    click.echo(f"\n$ evalkit score {shlex.join(arguments)}\n")
    _command(ctx, "score").main(arguments, prog_name="evalkit score", standalone_mode=False)

    draw_curves(out / "scores" / "curves.csv", out / "curves.png")
    click.echo(
        f"""
These intervals are too narrow: the {n_crops} crops come from {len(PHOTOS)} photos, and crops of one photo are
not independent. On a set of separate photos they mean what they say.

  {out / "curves.png"}   the cumulative error curves
  {out / "scores"}       summary.csv, per_image.parquet, curves.csv, run.json
  {out / "truth"}, {out / "mild"}, {out / "strong"}   the images

Next, with folders of your own (the same file names in each):

  evalkit score --truth PHOTOS --method MINE=FOLDER --method gray --method random --out scores"""
    )


def _command(ctx: click.Context, name: str) -> click.Command:
    """Another command of the group, as the user would call it."""
    root = ctx.find_root()
    found = root.command.get_command(root, name) if isinstance(root.command, click.Group) else None
    if found is None:
        raise click.ClickException(f"the command '{name}' is not installed.")
    return found
