"""Folders of results: claimed empty, never overwritten, recognised by the file that stands in them first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from qdeq_qiskit.files import is_unfinished
from qdeq_qiskit.training.errors import RunError


@dataclass(frozen=True)
class FolderKind:
    """One kind of folder.

    Attributes:
        noun: what users call it, such as "run".
        marker: the file that shows that it was begun.
        command: what continues it, given its path.
        earlier: what may stand in the folder before the marker does, if its beginning was interrupted.
    """

    noun: str
    marker: str
    command: str
    earlier: frozenset[str] = frozenset()

    def claim(self, out: Path | None, *, name: str) -> Path:
        """A new folder: `out`, or the first free `runs/<name>-<number>`.

        It is empty, but for what a beginning that was interrupted may have left in `out`.

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
        if out.exists() and (not out.is_dir() or not all(map(self._is_left, out.iterdir()))):
            continued = f"; `{self.command} {out}` continues it" if (out / self.marker).exists() else ""
            raise RunError(f"{out}: is there already and is never overwritten{continued}")

    def open(self, path: Path) -> Path:
        """The folder, if it was begun.

        Raises:
            RunError: it was not.
        """
        if not (path / self.marker).is_file():
            if path.is_dir():
                left = any(path.iterdir()) and all(map(self._is_left, path.iterdir()))
                again = f": it was interrupted before it had begun; begin it again with --out {path}" if left else ""
                raise RunError(f"{path}: holds no {self.noun} (no {self.marker}){again}")
            if path.exists():
                raise RunError(f"{path}: is a file; give the folder of the {self.noun}")
            raise RunError(f"{path}: there is no such {self.noun} folder")
        return path

    def _is_left(self, path: Path) -> bool:
        """Whether an interrupted beginning may have left this entry of the folder."""
        if path.is_dir():
            return path.name in self.earlier and not any(path.iterdir())
        return path.name in self.earlier or is_unfinished(path)
