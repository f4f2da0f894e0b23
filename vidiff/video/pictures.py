"""Opening pictures: upright, as 8-bit RGB whatever their depth; and pictures that move. No torch in here."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidiff.video.reader import ReadError

# Long strips are large pictures, and damaged EXIF is left alone. Once for all: `catch_warnings` in several threads at a
# time can leave every warning of the process silenced.
warnings.filterwarnings("ignore", module=r"PIL\.")

_ORIENTATION = 0x0112  # of EXIF
_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # floats and masks, 8, 10, 12, 14 and 16 bits
_UNREADABLE = {"OpenEXR": b"v/1\x01", "HEIC": b"ftyphe", "HEIF": b"ftypm"}


@dataclass(frozen=True)
class Header:
    """What the header of a picture says.

    Args:
        width, height: in pixels, upright as EXIF asks.
        frames: pictures in the file; 1 where the further ones are previews, layers or the other eye.
        deep: more than 8 bits, or floats: needs a white level.
        grey: one channel or a palette.
    """

    width: int
    height: int
    frames: int = 1
    deep: bool = False
    grey: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height


def header(path: Path) -> Header:
    """The header of a picture.

    Raises:
        ReadError: it cannot be read.
    """
    with _opened(path, "not a readable image") as image:
        deep = _is_deep(image)  # before anything is decoded
        # Pillow turns TIFF itself, and would decode a whole PNG to look for an orientation behind the pixels.
        exif = image.format not in ("PNG", "TIFF") or {"exif", "Raw profile type exif"} & set(image.info)
        turned = exif and image.getexif().get(_ORIENTATION, 1) >= 5
        width, height = image.size[::-1] if turned else image.size
        grey = image.mode[:1] in ("1", "L", "P", "I", "F")
        return Header(width, height, _count(image), deep, grey)


def open_rgb(path: Path, white: float | None = None, frame: int = 0):
    """A picture as an RGB PIL image, fully decoded and upright; transparency is dropped.

    Args:
        path: the file.
        white: the value that becomes 255, for pictures of more than 8 bits; None: see `white_level`, of this picture.
        frame: which picture of an animation or a stack.
    Raises:
        ReadError: the picture cannot be decoded to its end.
    """
    return next(open_frames(path, (frame,), white))


def open_frames(path: Path, frames: Iterable[int], white: float | None = None) -> Iterator:
    """`open_rgb` of several pictures of one file, which is opened once; cheapest in rising order."""
    from PIL import Image, ImageOps

    with _opened(path, "damaged image") as image:
        for _ in _each(image, frames):
            if not _is_deep(image):
                yield ImageOps.exif_transpose(image).convert("RGB")
                continue
            orientation = image.getexif().get(_ORIENTATION, 1)
            samples, upright = _samples(path, image)
            scale = 255.0 / (white or white_level(_peak(path, samples)))
            picture = Image.fromarray((samples * scale + 0.5).clip(0, 255).astype(np.uint8))
            if not upright:
                picture.getexif()[_ORIENTATION] = orientation
                picture = ImageOps.exif_transpose(picture)
            yield picture.convert("RGB")


def seconds(path: Path) -> float:
    """How long an animation is shown; 0 for a stack of pages, which has no clock."""
    total = 0.0
    with _opened(path, "damaged image") as image:
        for _ in _each(image):
            image.load()  # WebP knows the time of a picture only then
            total += image.info.get("duration", 0) / 1000
    return total


def peak(paths: Iterable[Path]) -> float:
    """The largest value in pictures of more than 8 bits, all of their frames.

    Raises:
        ReadError: one cannot be decoded, or holds negative or infinite values.
    """
    highest = 0.0
    for path in paths:
        with _opened(path, "damaged image") as image:
            for _ in _each(image):
                highest = max(highest, _peak(path, _samples(path, image)[0]))
    return highest


def white_level(peak: float) -> float:
    """The value that stands for white, from the largest one: that of the fewest bits that hold it.

    Floats up to 1, then 8, 10, 12, 14 and 16 bits; the peak itself where it is far below its number of bits or above
    all of them.
    """
    white = next((w for w in _WHITES if peak <= w), peak)
    return (white if peak > white / 5 else peak) or 1.0


def white_levels(peaks: Sequence[float]) -> list[float]:
    """The white level of each video of a set, from their peaks.

    One level for all, so that a dark video stays dark; but one that would be black by it (below a sixteenth, such as 12
    bits among 16) begins a level of its own.
    """
    level, levels = None, {}
    for value in sorted(set(peaks), reverse=True):
        if level is None or 0 < value < level / 16:
            level = white_level(value)
        levels[value] = level
    return [levels[value] for value in peaks]


def resized(image, height: int | None = None, width: int | None = None) -> np.ndarray:
    """A PIL image as an array of another size, by an antialiased bilinear filter; as it is without a size."""
    if height and width and image.size != (width, height):
        from PIL import Image

        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


@contextmanager
def _opened(path: Path, wrong: str) -> Iterator:
    """An open PIL image, its errors as ReadError."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise ReadError(path, _reason(path, error, wrong)) from None


def _reason(path: Path, error: Exception, wrong: str) -> str:
    if "cannot identify" not in str(error):
        return f"{wrong} ({(str(error).splitlines() or ['?'])[0][:100]})"
    with open(path, "rb") as file:
        head = file.read(12)
    for name, start in _UNREADABLE.items():
        if start in head:
            return f"{name} pictures cannot be read here: save them as PNG or JPEG"
    return f"{wrong} (cannot identify it)"


def _count(image) -> int:
    """Pictures of an animation or a stack; 1 for a photo with a second view, a preview or smaller copies."""
    frames = getattr(image, "n_frames", 1)
    if frames < 2 or image.format == "MPO":
        return 1
    if image.format == "TIFF":
        sizes = set()
        for frame in range(frames):
            image.seek(frame)
            sizes.add((image.size, image.mode))
        image.seek(0)
        return frames if len(sizes) == 1 else 1
    return frames - _stands_in(image)


def _stands_in(image) -> bool:
    """Whether the first picture of an animated PNG is only for those who do not animate."""
    return image.format == "PNG" and getattr(image, "default_image", False)


def _each(image, frames: Iterable[int] | None = None) -> Iterator[int]:
    """Stand at each of these pictures of a file in turn; None: at all."""
    for frame in range(_count(image)) if frames is None else frames:
        if frame + _stands_in(image):
            image.seek(frame + _stands_in(image))
        yield frame


def _is_deep(image) -> bool:
    """Whether a picture has more than 8 bits a channel; Pillow keeps these of grey ones only."""
    return image.mode[:1] in ("I", "F") or any(";16" in str(tile[3]) for tile in image.tile)


def _samples(path: Path, image) -> tuple[np.ndarray, bool]:
    """The values of a deep picture, (H, W) or (H, W, 3), and whether they are upright already."""
    if image.mode[:1] in ("I", "F"):
        from PIL import ImageOps

        return np.asarray(ImageOps.exif_transpose(image)), True
    import av

    try:
        with open(path, "rb") as file, av.open(file) as container:
            return next(container.decode(video=0)).to_ndarray(format="rgb48le"), False
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise OSError(str(error) or "no picture in it") from None


def _peak(path: Path, samples: np.ndarray) -> float:
    low, high = float(samples.min()), float(samples.max())
    if not (low >= 0 and np.isfinite(high)):  # also where there is a NaN
        raise ReadError(
            path, f"values from {low:g} to {high:g}: only 0 and above can be shown; save it with 8 or 16 bits"
        )
    return high
