"""Videos that are pictures or arrays: folders of frames, strips, images, animations, `.npy`. No torch in here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vidiff.video.arrays import open_videos
from vidiff.video.filetype import list_images, strip_frames
from vidiff.video.pictures import header, open_frames, open_rgb, resized, seconds
from vidiff.video.reader import Info, Reader, ReadError, check_indices


class PictureReader(Reader):
    """What all pictures share.

    Args:
        path: the file or folder.
        white: the value that stands for white in pictures of more than 8 bits; None: each picture's own.
    """

    def __init__(self, path: Path | str, white: float | None = None):
        super().__init__(path)
        self.white = white

    def images(self, indices: Sequence[int]) -> Iterator:
        """PIL images of some frames, in the order of `indices`, which rises."""
        raise NotImplementedError

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        wanted = sorted({int(i) for i in indices})
        frames = {i: resized(image, height, width) for i, image in zip(wanted, self.images(wanted))}
        if len({frame.shape for frame in frames.values()}) > 1:
            raise ReadError(self.path, "the images of this folder are not all of one size")
        return np.stack([frames[int(i)] for i in indices])


class FramesReader(PictureReader):
    """A folder of images of one size, one image a frame, in natural order.

    Args:
        path: the folder.
        files: the names of the images in order; None: every image in the folder.
        white: see PictureReader.
    """

    def __init__(self, path: Path | str, files: Sequence[str] | None = None, white: float | None = None):
        super().__init__(path, white)
        self.files = tuple(files or list_images(self.path))

    def measure(self) -> Info:
        if not self.files:
            raise ReadError(self.path, "the folder holds no images")
        image = open_rgb(self.path / self.files[-1], self.white)
        return Info(len(self.files), None, image.width, image.height)

    def images(self, indices: Sequence[int]) -> Iterator:
        check_indices(self.path, indices, len(self.files))
        return (open_rgb(self.path / self.files[i], self.white) for i in indices)


class AnimationReader(PictureReader):
    """One file of many pictures: animated WebP, PNG or AVIF, or a stack of TIFF pages."""

    def measure(self) -> Info:
        count = header(self.path).frames
        image = open_rgb(self.path, self.white, count - 1)
        length = seconds(self.path)
        return Info(count, count / length if length else None, image.width, image.height)

    def images(self, indices: Sequence[int]) -> Iterator:
        check_indices(self.path, indices, header(self.path).frames)
        return open_frames(self.path, indices, self.white)


class StripReader(PictureReader):
    """One image that holds a whole video: square frames side by side, or one below the other."""

    def measure(self) -> Info:
        image = open_rgb(self.path, self.white)
        side = min(image.size)
        return Info(strip_frames(*image.size) or 1, None, side, side)

    def images(self, indices: Sequence[int]) -> Iterator:
        strip = open_rgb(self.path, self.white)
        side = min(strip.size)
        check_indices(self.path, indices, max(strip.size) // side)
        for i in indices:
            x, y = (0, i * side) if strip.height > strip.width else (i * side, 0)
            yield strip.crop((x, y, x + side, y + side))


class ArrayReader(PictureReader):
    """One video of a .npy file; see `open_videos`.

    Args:
        path: the file.
        number: which of its videos.
        order: of its axes, as `find_order` found it.
    """

    def __init__(self, path: Path | str, number: int, order: str | None = None):
        super().__init__(path)
        self.number, self.order = number, order

    def measure(self) -> Info:
        frames, height, width, _ = self._video().shape
        return Info(frames, None, width, height)

    def _video(self) -> np.ndarray:
        videos = open_videos(self.path, self.order)
        if self.number >= len(videos):
            raise ReadError(self.path, f"not an array of videos with number {self.number} in it")
        return videos[self.number]

    def images(self, indices: Sequence[int]) -> Iterator:
        from PIL import Image

        video = self._video()  # (T, H, W, C)
        check_indices(self.path, indices, len(video))
        for i in indices:
            yield Image.fromarray(np.ascontiguousarray(np.broadcast_to(video[i], (*video.shape[1:3], 3))))
