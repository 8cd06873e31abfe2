"""Folders of results: claimed empty, never overwritten, recognised by the file that stands in them first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from qdeq_qiskit.training.errors import RunError


@dataclass(frozen=True)
class FolderKind:
    """One kind of folder.

    Attributes:
        noun: what users call it, such as "run".
        marker: the file that shows that it was begun.
        command: what continues it, given its path.
    """

    noun: str
    marker: str
    command: str

    def claim(self, out: Path | None, *, name: str) -> Path:
        """A new, empty folder: `out`, or the first free `runs/<name>-<number>`.

        Raises:
            RunError: `out` holds something already, or cannot be made.
        """
        try:
            if out is not None:
                self.check_free(out)
                out.mkdir(parents=True, exist_ok=True)
                return out
            for number in count(1):
                path = Path("runs") / f"{name}-{number}"
                if not path.exists():
                    try:
                        path.mkdir(parents=True)
                        return path
                    except FileExistsError:  # somebody else was quicker
                        continue
        except OSError as error:
            raise RunError(f"{out or 'runs'}: cannot be written: {error.strerror or error}") from None
        raise AssertionError

    def check_free(self, out: Path) -> None:
        """Refuse a folder that holds something.

        Raises:
            RunError: it does, or is a file.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            continued = f"; `{self.command} {out}` continues it" if (out / self.marker).exists() else ""
            raise RunError(f"{out}: is there already and is never overwritten{continued}")

    def open(self, path: Path) -> Path:
        """The folder, if it was begun.

        Raises:
            RunError: it was not.
        """
        if not (path / self.marker).is_file():
            if path.is_dir():
                raise RunError(f"{path}: holds no {self.noun} (no {self.marker})")
            if path.exists():
                raise RunError(f"{path}: is a file; give the folder of the {self.noun}")
            raise RunError(f"{path}: there is no such {self.noun} folder")
        return path
