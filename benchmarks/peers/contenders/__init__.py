"""Who is compared: one file each, with a tuple `PEERS`; `contenders()` finds them."""

from __future__ import annotations

import importlib
import pkgutil

from ..peer import Peer


def contenders() -> tuple[Peer, ...]:
    """The peers of all files, ours first, else in the order of the files' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    found = [peer for name in names for peer in importlib.import_module(f"{__name__}.{name}").PEERS]
    return tuple(sorted(found, key=lambda peer: not peer.ours))
