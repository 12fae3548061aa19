"""The command ``evalkit leaderboard``: runs and studies of a group as one table with ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.commands._report_options import picture_options, read_pictures
from evalkit.commands._shared import GivenPath, listed_names
from evalkit.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.leaderboard.boards import Board
    from analysis.report.galleries import Gallery, ImageChoice, ImageFolders

__all__ = ["leaderboard_command"]


@click.command("leaderboard", short_help="Runs and studies as one sortable page with ranks.")
@click.argument("runs", type=GivenPath(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option("--out", type=GivenPath(path_type=Path), default=Path("leaderboard"), show_default=True, metavar="FOLDER",
              help="Folder for the page and its tables.")  # fmt: skip
@click.option(
    "--add",
    is_flag=True,
    help="Add to the leaderboard in --out: its runs are read anew, its --metrics, --by and --apart go on.",
)
@click.option("--metrics", metavar="NAME,NAME", help="These metrics alone; by default all that any run has.")
@click.option("--by", default="", metavar="MEASURE",
              help="Measure that orders the rows; by default people's answers, then AuC.")  # fmt: skip
@click.option("--apart", is_flag=True, help="Give runs that may not stand together boards of their own.")
@picture_options
@click.option("--title", default="Leaderboard of colorization methods", show_default=True, help="Heading.")
def leaderboard_command(
    runs: tuple[Path, ...],
    out: Path,
    add: bool,
    metrics: str | None,
    by: str,
    apart: bool,
    title: str,
    **pictures: Any,
) -> None:
    """Rank the methods of several RUNs: folders of `evalkit score`, folders of `evalkit analyze`, trials, study folders.

    Runs stand together where they scored the same photos and the signatures of the metrics that they share agree;
    otherwise the fields that differ are named. Every pair of methods is tested on the images that both have, and
    methods that cannot be told apart share a rank: 1–3 says that any of the first three ranks is possible.

    leaderboard.html needs no network and no JavaScript (which only sorts and enlarges); the same stands in
    leaderboard.csv, .md and .json.
    """
    from analysis.commands._needs import need

    need("scipy", "jinja2")
    from analysis.leaderboard.boards import make_boards
    from analysis.leaderboard.document import LeaderboardInput, earlier_leaderboard, write_leaderboard
    from analysis.leaderboard.sources import StudySource, read_sources
    from evalkit.errors import InputError
    from evalkit.release import release

    if out.resolve() in {path.resolve() for path in runs}:
        raise InputError(f"--out {out} is one of the runs; the leaderboard needs a folder of its own.")
    paths, names = list(runs), None if metrics is None else listed_names(metrics)
    if add:
        earlier, places = earlier_leaderboard(out), {path.resolve() for path in runs}
        paths = [path for path in earlier.paths if path.resolve() not in places] + paths
        names = earlier.options.get("metrics") if names is None else names
        by, apart = by or earlier.options.get("by", ""), apart or bool(earlier.options.get("apart"))
    sources = read_sources(paths)
    recorded = [source.record.reading for source in sources if not isinstance(source, StudySource)]
    folders, choice = read_pictures(**pictures, recorded=recorded)
    boards = make_boards(sources, metrics=names, by=by, apart=apart)
    image_rows = [row for source in sources if isinstance(source, StudySource) for row in source.image_rows]
    content = LeaderboardInput(
        boards=boards,
        folders=folders,
        gallery=_gallery(folders, choice, boards, image_rows),
        title=title,
        version=release(),
        options={"metrics": None if names is None else list(names), "by": by, "apart": apart},
    )
    written = write_leaderboard(content, out)
    _print_boards(boards)
    click.echo(f"Wrote {written[0]} and {counted(len(written) - 1, 'file')} beside it.")
    for problem in folders.problems.values() if folders else ():
        click.echo(f"Not shown: {problem}", err=True)


def _gallery(
    folders: ImageFolders | None, choice: ImageChoice, boards: Sequence[Board], image_rows: list[dict[str, Any]]
) -> Gallery | None:
    from analysis.report.galleries import gallery_of
    from evalkit.errors import InputError
    from evalkit.wording import unknown_name

    if folders is None:
        return None
    names = [contender.name for board in boards for contender in board.contenders if not contender.is_anchor]
    for method in folders.methods:
        if method not in names:
            raise InputError(f"--method: {unknown_name('method', method, list(dict.fromkeys(names)))}")
    if choice.rule in ("most", "least") and not image_rows:
        raise InputError(f"--rule {choice.rule} needs answers about these images; give a study among the runs.")
    return gallery_of(folders, choice, image_rows)


def _print_boards(boards: Sequence[Board]) -> None:
    """The ranks of every board, for the terminal."""
    from analysis.commands._fitting_table import print_fitting
    from evalkit.commands._shared import table_console

    console = table_console(140)
    for number, board in enumerate(boards, start=1):
        if len(boards) > 1:
            console.print(f"\nBoard {number}: {', '.join(source.label for source in board.sources)}", markup=False)
        ranked = [m for m in board.measures if any(c.standings.get(m.key) and c.standings[m.key].ranks for c in board.contenders)]  # fmt: skip
        rows = [
            (contender.name, *(_ranks(contender.standings.get(measure.key)) for measure in ranked))
            for contender in board.contenders
            if not contender.is_anchor
        ]
        if ranked:
            console.print("Ranks; methods with a common rank cannot be told apart:")
            heads = [measure.column.title.removesuffix(" %") for measure in ranked]
            print_fitting(console, ("method", *heads), rows, droppable=tuple(heads[:0:-1]), file="leaderboard.csv")
        else:
            console.print("No two methods have a measure that pairs them, so there are no ranks.")
        for note in board.notes:
            console.print(f"  note: {note}", markup=False)


def _ranks(standing: Any) -> str:
    return (standing.ranks if standing else "") or "-"
