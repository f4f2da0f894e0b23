"""What a file is, told from its first bytes, never from its name; and opening images. No torch in here."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from vidiff.errors import RunError

# Names that claim to be media: such a file with other content is reported, any other file is passed over.
MEDIA_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .wmv .flv .mpg .mpeg .ts .3gp .gif .jpg .jpeg .png .bmp .webp .tif .tiff".split()
)
MIN_STRIP_FRAMES = 4  # below that, a wide picture is just a wide picture
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1")


class ReadError(RunError):
    """A file that cannot be read; the message names it.

    Args:
        path: the file (or folder of frames).
        reason: what is wrong with it, in a few words.
    """

    def __init__(self, path: Path | str, reason: str):
        super().__init__(str(path), reason)
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"cannot read {self.path}: {self.reason}"


def natural(name: str) -> list:
    """Sort key under which `frame2` comes before `frame10`."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name)]


def sniff(path: Path) -> str:
    """`video`, `image`, `array`, `text`, `empty` or `other`, from the first bytes of a file."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "empty"
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")):
        # "BM" alone is weak: a bitmap also has four zero bytes at offset 6.
        return "image" if head[:2] != b"BM" or head[6:10] == b"\0\0\0\0" else _text_or_other(head)
    if head.startswith(b"\x93NUMPY"):
        return "array"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image", b"AVI ": "video"}.get(head[8:12], "other")
    if head[4:8] in _MP4_BOXES:
        return "image" if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS else "video"
    if head.startswith(
        (b"\x1aE\xdf\xa3", b"GIF8", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"OggS", b"0&\xb2u", b"YUV4MPEG2")
    ):
        return "video"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:  # MPEG transport stream
        return "video"
    return _text_or_other(head)


def _text_or_other(head: bytes) -> str:
    if b"\0" in head:
        return "other"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut at the end of what was read is still text.
        return "text" if error.start >= len(head) - 3 and len(head) == 512 else "other"
    return "text"


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header of an image.

    Raises:
        ReadError: the header cannot be read.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # long strips are large pictures
            with Image.open(path) as image:
                return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReadError(path, f"not a readable image ({_short(error)})") from None


def open_rgb(path: Path):
    """An image as an RGB PIL image, fully decoded; transparency is dropped.

    Raises:
        ReadError: the image cannot be decoded to its end.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReadError(path, f"damaged image ({_short(error)})") from None


def strip_frames(width: int, height: int) -> int | None:
    """Number of square frames if an image of this size is a strip of them (either direction), else None."""
    long, short = max(width, height), max(1, min(width, height))
    return long // short if long % short == 0 and long // short >= MIN_STRIP_FRAMES else None


def array_layout(path: Path) -> tuple[int, int, int, int] | None:
    """(videos, frames, height, width) of a .npy file of videos, None where it holds something else.

    Accepted are uint8 (frames, videos, height, width), as Moving MNIST comes, and (videos, frames, height, width, 1 or
    3). Only the header is read.
    """
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    shape = array.shape
    if array.dtype != np.uint8 or 0 in shape:
        return None
    if len(shape) == 4 and shape[3] > 4:  # else a batch of pictures
        return shape[1], shape[0], shape[2], shape[3]
    return shape[:4] if len(shape) == 5 and shape[4] in (1, 3) else None


def list_images(folder: Path) -> tuple[str, ...]:
    """Names of the images in a folder, in natural order."""
    files = sorted((p for p in folder.iterdir() if p.is_file() and p.name[0] != "."), key=lambda p: natural(p.name))
    return tuple(p.name for p in files if sniff(p) == "image")


def _short(error: Exception) -> str:
    return "cannot identify it" if "cannot identify" in str(error) else (str(error).splitlines() or ["?"])[0][:100]
