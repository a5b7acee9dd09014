"""The folders that exports were written to: `export_folders/<hash>.json` in the home. `podlake forget` looks there."""

from __future__ import annotations

import hashlib
import json
import shlex
import socket
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

from pyarrow import fs

from resources.exports.folder import ExportFolder
from resources.exports.registry import TRANSCRIPTS
from resources.lake.home import Home

FOLDER = "export_folders"


@dataclass(frozen=True)
class KnownExport:
    """A folder that an export was written to."""

    folder: str
    """An absolute path, or the address of an object store."""
    host: str
    """The machine of a path."""
    format: str
    command: str
    """The command that writes it again."""

    @property
    def is_here(self) -> bool:
        """Whether this machine can see it."""
        return "://" in self.folder or self.host == socket.gethostname() or self._exists()

    def contained(self, episodes: Collection[str]) -> set[str]:
        """Those of the episodes that it contains."""
        if self.format in TRANSCRIPTS:
            home = Home.at(self.folder)
            return {key for key in episodes if home.exists(f"{key}.{TRANSCRIPTS[self.format].SUFFIX}")}
        return ExportFolder(self.folder).episodes() & set(episodes)

    def remove(self, episodes: Collection[str]) -> None:
        """Remove the files of these episodes; of a data set, all files that podlake wrote."""
        if self.format in TRANSCRIPTS:
            for key in episodes:
                Home.at(self.folder).remove(f"{key}.{TRANSCRIPTS[self.format].SUFFIX}")
        elif self.contained(episodes):
            ExportFolder(self.folder).clear()

    def _exists(self) -> bool:
        home = Home.at(self.folder)
        return bool(home.filesystem.get_file_info(home.root).type == fs.FileType.Directory)


def remember(home: Home, folder: str, form: str, command: str) -> None:
    """Note the folder, before anything is written to it."""
    uri = folder if "://" in folder else Home.at(folder).root
    known = KnownExport(uri, socket.gethostname(), form, command)
    content = json.dumps(asdict(known)).encode()
    name = f"{hashlib.sha256(f'{known.host} {uri} {form}'.encode()).hexdigest()[:16]}.json"
    if not (home.exists(FOLDER, name) and home.read(FOLDER, name) == content):
        with home.writing(FOLDER, name) as stream:
            stream.write(content)


def known_exports(home: Home) -> Iterator[KnownExport]:
    """All folders that are noted, also those that have been deleted since."""
    for name in home.names(FOLDER):
        yield KnownExport(**json.loads(home.read(FOLDER, name)))


def forget_commands(home: Home, names: Collection[str]) -> None:
    """Remove the notes whose command has one of these names of feeds and episodes."""
    for name in home.names(FOLDER):
        known = KnownExport(**json.loads(home.read(FOLDER, name)))
        if not set(names).isdisjoint(shlex.split(known.command)):
            home.remove(FOLDER, name)
