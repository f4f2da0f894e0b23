"""Videos that are pictures or arrays: folders of frames, strips, single images, `.npy` files. No torch in here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vidiff.data.images import ReadError, array_layout, list_images, open_rgb, strip_frames
from vidiff.data.pyav import Info, Reader, _check_indices


class FramesReader(Reader):
    """A folder of images of one size, one image a frame, in natural order.

    Args:
        path: the folder.
        files: the names of the images in order; None: every image in the folder.
    """

    def __init__(self, path: Path | str, files: Sequence[str] | None = None):
        super().__init__(path)
        self._files = tuple(files) if files else None

    @cached_property
    def files(self) -> tuple[str, ...]:
        if self._files:
            return self._files
        return list_images(self.path)

    def measure(self) -> Info:
        if not self.files:
            raise ReadError(self.path, "the folder holds no images")
        image = open_rgb(self.path / self.files[-1])
        return Info(len(self.files), None, image.width, image.height)

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        _check_indices(self.path, indices, len(self.files))
        images = {i: _resized(open_rgb(self.path / self.files[i]), height, width) for i in set(map(int, indices))}
        if len({image.shape for image in images.values()}) > 1:
            raise ReadError(self.path, "the images of this folder are not all of one size")
        return np.stack([images[int(i)] for i in indices])


class ImageReader(FramesReader):
    """A single image: a video of one frame."""

    def __init__(self, path: Path | str):
        path = Path(path)
        super().__init__(path.parent, (path.name,))

    def measure(self) -> Info:
        image = open_rgb(self.path / self.files[0])
        return Info(1, None, image.width, image.height)


class StripReader(Reader):
    """One image that holds a whole video: square frames side by side, or one below the other."""

    def measure(self) -> Info:
        image = open_rgb(self.path)
        side = min(image.size)
        return Info(strip_frames(*image.size) or 1, None, side, side)

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        image = open_rgb(self.path)
        side = min(image.size)
        _check_indices(self.path, indices, max(image.size) // side)
        down = image.height > image.width
        frames = []
        for i in map(int, indices):
            x, y = (0, i * side) if down else (i * side, 0)
            frames.append(_resized(image.crop((x, y, x + side, y + side)), height, width))
        return np.stack(frames)


class ArrayReader(Reader):
    """One video of a .npy file that holds many; see `array_layout`.

    Args:
        path: the file.
        number: which of its videos.
    """

    def __init__(self, path: Path | str, number: int):
        super().__init__(path)
        self.number = number

    def measure(self) -> Info:
        _, frames, height, width = self._layout()
        return Info(frames, None, width, height)

    def _layout(self) -> tuple[int, int, int, int]:
        layout = array_layout(self.path)
        if layout is None or self.number >= layout[0]:
            raise ReadError(self.path, f"not an array of videos with number {self.number} in it")
        return layout

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        from PIL import Image

        _check_indices(self.path, indices, self._layout()[1])
        array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        video = array[:, self.number, ..., None] if array.ndim == 4 else array[self.number]  # (T, H, W, C)
        frames = (np.broadcast_to(video[int(i)], (*video.shape[1:3], 3)) for i in indices)
        return np.stack([_resized(Image.fromarray(np.ascontiguousarray(f)), height, width) for f in frames])


def _resized(image, height: int | None, width: int | None) -> np.ndarray:
    if height and width and image.size != (width, height):
        from PIL import Image

        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)
