"""Shards of many blocks joined into one file while a run goes on: a million images are some 260 files, not 31,250.

A block's shard is what a killed run resumes from, and so it is small. As soon as 128 blocks that follow each other are
there, their rows move into one part: the part is written under another name, complete or not at all, then its note with
the digests of all blocks, and only then the shards go. Whoever is killed in between leaves either the shards, or both;
`evalkit.scoring.run` removes what is there twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evalkit.files import atomic_file, write_atomically
from evalkit.scoring.plan import Plan
from evalkit.scoring.statistics_store import SHARD_FORMAT, block_of, note_of, read_shard

__all__ = ["Compactor", "join_shards"]

BLOCKS_PER_ROW_GROUP = 8
"""Blocks that are read at a time: 256 images, some megabytes per method, however large the part."""


def join_shards(folder: Path, names: Sequence[str], target: str) -> None:
    """Move the rows of shards into one part.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        File names of the shards, in order.
    target : str
        File name of the part.
    """
    paths = [folder / name for name in names]
    digests = [block_of(path) for path in paths]
    schema = pq.read_schema(paths[0])
    with (
        atomic_file(folder / target) as file,
        pq.ParquetWriter(file, schema, **SHARD_FORMAT) as writer,
    ):
        for first in range(0, len(paths), BLOCKS_PER_ROW_GROUP):
            rows = pa.concat_tables([read_shard(path) for path in paths[first : first + BLOCKS_PER_ROW_GROUP]])
            writer.write_table(rows, row_group_size=len(rows))
    if None not in digests:
        write_atomically(note_of(folder / target), "\n".join(map(str, digests)))
    for path in paths:
        path.unlink()
        note_of(path).unlink(missing_ok=True)


class Compactor:
    """Joins the shards of a run as they come.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Where the shards are.
    blocks : collection of int
        Blocks that are still to be measured.
    """

    def __init__(self, plan: Plan, folder: Path, blocks: Collection[int]) -> None:
        self._plan, self._folder = plan, folder
        self._awaited: dict[range, set[int]] = {part: set() for part in plan.parts}
        for index in blocks:
            part = plan.part_of(index)
            if part is not None:
                self._awaited[part].add(index)
        # A killed run may have stopped between the last block of a part and the part.
        for part in [part for part, awaited in self._awaited.items() if not awaited]:
            if not (folder / plan.part_name(part)).exists():
                self._join(part)

    def finished(self, index: int) -> None:
        """Take note that the shard of a block is there."""
        part = self._plan.part_of(index)
        if part is not None:
            self._awaited[part].discard(index)
            if not self._awaited[part]:
                self._join(part)

    def _join(self, part: range) -> None:
        join_shards(self._folder, [self._plan.shard(index) for index in part], self._plan.part_name(part))
