"""Whether there is a GPU to measure on, before anything is installed for it: needs nothing but Python."""

from __future__ import annotations

import ctypes
import sys

NO_GPU = "no NVIDIA GPU was found on this machine ({why}), so there is nothing to measure; nothing was installed"


def why_none() -> str | None:
    """Why no GPU can be used, or None if one can: the driver's own answer."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return f"there is no driver: {name} cannot be loaded"
    count = ctypes.c_int(0)
    if (code := driver.cuInit(0)) or (code := driver.cuDeviceGetCount(ctypes.byref(count))):
        return f"the driver answers with error {code}"
    return None if count.value else "the driver sees none"


if __name__ == "__main__":
    why = why_none()
    if why is not None:
        print(NO_GPU.format(why=why), file=sys.stderr)
        sys.exit(2)
