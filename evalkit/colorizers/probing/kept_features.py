"""The file of ``evalkit probe --features``: features of a run, and what they are features of."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.errors import InputError
from evalkit.files import atomic_file
from evalkit.images.places import ImageFile, read_file
from evalkit.wording import agree, error_reason

__all__ = ["FeatureStore", "file_digest", "kept_features"]

FORMAT = "evalkit-features/1"

Blocks = list[tuple[str, npt.NDArray[np.float32]]]


class FeatureStore:
    """Where a probe asks for features: computed, computed and kept, or read from the file of an earlier run.

    Parameters
    ----------
    archive : ZipFile, optional
        Open for reading or writing; without one nothing is kept.
    path : Path, optional
        Its name, for errors.
    """

    def __init__(self, archive: zipfile.ZipFile | None = None, path: Path | None = None) -> None:
        self._archive, self._path = archive, path
        self._groups: dict[str, list[str]] = {}
        if archive is not None and archive.mode == "r":
            for name in archive.namelist():
                group, _, block = name.removesuffix(".npy").rpartition("/")
                self._groups.setdefault(group, []).append(block)

    @property
    def is_read(self) -> bool:
        """Whether features come from a file."""
        return self._archive is not None and self._archive.mode == "r"

    def blocks(self, group: str, compute: Callable[[], Blocks]) -> Blocks:
        """Arrays of the blocks of a network for the photos of a group, in order.

        Parameters
        ----------
        group : str
            What they are of: network, size, photos.
        compute : callable
            Makes them where no file has them.

        Raises
        ------
        InputError
            If the file has not the whole group, or is damaged there.
        """
        if self._archive is None:
            return compute()
        if self._archive.mode == "r":
            if group not in self._groups:
                raise InputError(f"{self._path}: has no features of {group}; remove the file to compute them again")
            return [(block, self._read(f"{group}/{block}")) for block in self._groups[group]]
        blocks = compute()
        for block, array in blocks:
            with self._archive.open(f"{group}/{block}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        return blocks

    def _read(self, name: str) -> npt.NDArray[np.float32]:
        assert self._archive is not None
        try:
            with self._archive.open(f"{name}.npy") as member:
                array: npt.NDArray[np.float32] = np.lib.format.read_array(member, allow_pickle=False)
                # To the end of the member: only there is its checksum compared.
                if member.read():
                    raise ValueError("more bytes than its header says")
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            raise InputError(
                f"{self._path}: is damaged at {name} ({error_reason(error)}); remove the file to compute it again"
            ) from None
        return array


@contextmanager
def kept_features(path: Path | None, signature: Mapping[str, str]) -> Iterator[FeatureStore]:
    """A store of features: read from `path` where it exists, else written to it.

    Parameters
    ----------
    path : Path, optional
        An ``.npz`` file; it appears whole when the block is left without an error. None keeps nothing.
    signature : mapping of str to str
        What the features are of: photos, networks, sizes. A file with another signature is refused.

    Raises
    ------
    InputError
        If the file holds no features, or others: the sentence names what differs.
    """
    if path is None:
        yield FeatureStore()
        return
    if path.exists():
        with _opened(path, signature) as archive:
            yield FeatureStore(archive, path)
        return
    if not path.parent.is_dir():
        raise InputError(f"--features {path}: the folder {path.parent} does not exist")
    with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        with archive.open("signature.npy", "w") as member:
            np.lib.format.write_array(member, np.array(json.dumps({"format": FORMAT, **signature})), allow_pickle=False)
        yield FeatureStore(archive, path)


@contextmanager
def _opened(path: Path, signature: Mapping[str, str]) -> Iterator[zipfile.ZipFile]:
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            with archive.open("signature.npy") as member:
                stored: dict[str, Any] = json.loads(str(np.lib.format.read_array(member, allow_pickle=False)))
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError):
            raise InputError(f"--features {path}: is no file of features that 'evalkit probe' wrote") from None
        wanted = {"format": FORMAT, **signature}
        differing = [name for name in dict.fromkeys((*wanted, *stored)) if stored.get(name) != wanted.get(name)]
        if differing:
            raise InputError(
                f"--features {path}: holds features of another run ({', '.join(differing)} "
                f"{agree(len(differing), 'differs', 'differ')}); remove it or name another file"
            )
        yield archive


def file_digest(files: Iterable[ImageFile]) -> str:
    """Of the bytes of files, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(read_file(file)).digest())
    return digest.hexdigest()[:16]
