"""`.npy` files of videos: which axis is what, by the shape or by the name, never guessed. No torch in here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vidiff.video.reader import ReadError

# n videos, t frames, c channels, h height, w width
ORDERS = ("ntchw", "ncthw", "nthwc", "tnhw", "nthw", "tchw", "cthw", "thwc", "thw")
PUBLISHED = {"mnist_test_seq": "tnhw"}  # Moving MNIST, by the name it is published under
MIN_SIDE = 8  # of a picture, in pixels; what is smaller is another axis
ACCEPTED_ORDERS = (
    "uint8 (videos, frames, height, width, channels), (videos, channels, frames, height, width), (videos, frames, "
    "channels, height, width), (frames, height, width, channels) or (frames, height, width)"
)


def open_videos(path: Path, order: str | None = None) -> np.ndarray:
    """The videos of a .npy file: a view (N, T, H, W, C) of the memory-mapped file, C = 1 or 3.

    Args:
        path: the file.
        order: of its axes; None: as `find_order` finds it.
    Raises:
        ReadError: it holds something else, or its order is not clear; the reason names what is accepted.
    """
    array, order = _open(path), order or find_order(path)
    if len(order) != array.ndim:
        raise ReadError(path, f"an array of {array.ndim} axes, not {order}")
    for axis, place in (("n", 0), ("c", len(order))):
        if axis not in order:
            array, order = np.expand_dims(array, place), order[:place] + axis + order[place:]
    return array.transpose([order.index(axis) for axis in "nthwc"])


def _open(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise ReadError(path, "not a readable .npy file (cut off, or an array of objects)") from None


def find_order(path: Path) -> str:
    """The order of the axes of a .npy file of videos, one of ORDERS: the one named in the file's name, or the only one
    that fits its shape. Only the header is read.

    Raises:
        ReadError: it holds something else, or its order is not clear; the reason names what is accepted.
    """
    array = _open(path)
    shape, what = array.shape, f"an array {array.dtype} {array.shape}"
    if array.ndim < 3 or 0 in shape:
        raise ReadError(path, f"{what}: no videos")
    if array.dtype != np.uint8:
        raise ReadError(path, f"{what}: save it as uint8, 0 to 255; accepted are {ACCEPTED_ORDERS}")
    fitting = [order for order in ORDERS if len(order) == len(shape) and _fits(order, shape)]
    named = [word for word in re.findall("[a-z]+", path.stem.lower()) if word in fitting]
    if path.stem.lower() in PUBLISHED and PUBLISHED[path.stem.lower()] in fitting:
        named = [PUBLISHED[path.stem.lower()]]
    if len(set(named)) == 1:
        return named[0]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ReadError(path, f"{what}: no order of axes that is accepted: {ACCEPTED_ORDERS}")
    raise ReadError(
        path,
        f"{what}: the order of its axes cannot be told; put it into the name, such as {path.stem}.{fitting[0]}.npy or "
        f"{path.stem}.{fitting[1]}.npy (n videos, t frames, c channels, h height, w width)",
    )


def _fits(order: str, shape: tuple[int, ...]) -> bool:
    size = dict(zip(order, shape))
    return size.get("c", 1) in (1, 3) and min(size["h"], size["w"]) >= MIN_SIDE
