"""A study that adds methods to an earlier one: the same question, photos and secret, and nobody takes part in both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from evalkit.errors import InputError
from evalkit.files import write_atomically
from evalkit.wording import agree, counted, some_names
from turing_test.database import schema as tables
from turing_test.database.storage import Storage, StorageUnavailable, default_url
from turing_test.database.study_record import admission
from turing_test.stimuli.study_changes import same_pixels, shown_pixels
from turing_test.study.build_record import BuildRecord
from turing_test.study.extension import EXTENDS, Extension
from turing_test.study.manifest import Manifest
from turing_test.study.protocol import RUNNING, Protocol
from turing_test.study.study_folder import BUILT, KEY, Study, read_study, stimulus_path
from turing_test.study.texts import OWN_TEXTS

__all__ = ["Base", "read_base"]


@dataclass(frozen=True)
class Base:
    """The study that is extended.

    Attributes
    ----------
    study : Study
    truth : path-like
        Folder of its photos.
    extension : Extension
        What the new study is to know of it.
    """

    study: Study
    truth: str | os.PathLike[str]
    extension: Extension

    def protocol(self, name: str, settings: Mapping[str, Any]) -> Protocol:
        """The protocol of the new study: what is asked is what was asked.

        Raises
        ------
        InputError
            When a setting would change that.
        """
        before = {option: getattr(self.study.protocol, option) for option in self.study.protocol.as_dict()}
        changed = [option for option, value in settings.items() if option in before and before[option] != value]
        asked = sorted(set(changed) - {*RUNNING, "name"})
        if asked:
            raise InputError(
                f"--set {asked[0]}: a study that extends {self.study.folder} asks what that asked, so that their answers can "
                "be put together; create a study of its own for another question."
            )
        return Protocol(**{**before, "name": name, **settings})

    def prepare(self, root: Path) -> None:
        """Give the new folder the secret, the texts, the list of blocks and the people of the study."""
        write_atomically(root / KEY, (self.study.folder / KEY).read_bytes(), 0o600)
        if (self.study.folder / OWN_TEXTS).is_dir():
            shutil.copytree(self.study.folder / OWN_TEXTS, root / OWN_TEXTS, dirs_exist_ok=True)
        if self.study.protocol.consent_file:
            shutil.copy(self.study.folder / self.study.protocol.consent_file, root)
        if self.study.protocol.block_list:
            shutil.copy(self.study.folder / self.study.protocol.block_list, root)
        write_atomically(root / EXTENDS, self.extension.to_json(), 0o600)

    def refuse_other_stimuli(self, root: Path, manifest: Manifest) -> None:
        """Refuse a new study whose photos, or images of methods that both have, show something else.

        Raises
        ------
        InputError
            Naming what differs.
        """
        before = {stimulus: sha for sha, stimulus in self.study.manifest.stimuli.items()}
        strangers = sorted(set(manifest.images) ^ set(self.study.manifest.images))
        if strangers:
            raise InputError(f"{root}: the photos are not those of {self.study.folder} (first {strangers[0]}).")
        repainted = sorted(
            f"{stimulus.method or stimulus.role} {stimulus.image}"
            for sha, stimulus in manifest.stimuli.items()
            if stimulus in before
            and not same_pixels(stimulus_path(self.study.folder, before[stimulus]), stimulus_path(root, sha))
        )
        if repainted:
            raise InputError(
                f"{root}: {counted(len(repainted), 'image')} {agree(len(repainted), 'shows', 'show')} something else than in {self.study.folder} "
                f"({some_names(repainted)}); both studies must show the same."
            )
        for method in sorted(set(manifest.methods) & self.extension.methods.keys() - set(self.study.manifest.methods)):
            if shown_pixels(root, manifest, method) != self.extension.methods[method]:
                raise InputError(
                    f"{root}: {method} shows something else than in a study before {self.study.folder}, and would be taken for the "
                    "same method; give it another name."
                )


def read_base(folder: Path, database_url: str | None = None) -> Base:
    """Read a study that is to be extended.

    Parameters
    ----------
    folder : Path
    database_url : str, optional
        Where its answers are, if not in the folder.

    Raises
    ------
    InputError
        When it has no answers yet, or still admits people: they could take part in both.
    """
    study = read_study(folder)
    if database_url is None and study.moved_to is not None:
        raise InputError(f"{folder}: its answers were moved to {study.moved_to}; name that with --extends-database.")
    if database_url is None and not study.database.exists():
        raise InputError(
            f"{folder}: nobody has taken part yet; add the method there: evalkit study create {folder} --truth DIR "
            "--method NAME=DIR with all its methods."
        )
    storage = Storage(database_url or default_url(folder), connections=1)
    try:
        storage.upgrade()
        state, people = storage.read(
            lambda c: (
                admission(c),
                c.execute(
                    sa.select(tables.session.c.person_hash).where(
                        tables.session.c.person_hash.is_not(None), tables.session.c.state != "full"
                    )
                ).scalars().all(),
            )
        )  # fmt: skip
    except StorageUnavailable as error:
        raise InputError(str(error)) from None
    finally:
        storage.close()
    if state == "open":
        raise InputError(
            f"{folder}: still admits people, who could then take part in both; close it first: evalkit study close {folder}."
        )
    earlier = study.extends
    extension = Extension(
        study.protocol.name,
        study.manifest.digest if earlier is None else earlier.first_manifest,
        frozenset(people) | (frozenset() if earlier is None else earlier.people),
        {
            **({} if earlier is None else earlier.methods),
            **{method: shown_pixels(folder, study.manifest, method) for method in study.manifest.methods},
        },
    )
    return Base(study, BuildRecord.read(folder / BUILT).truth, extension)
