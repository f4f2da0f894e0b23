"""What a file is, by its first bytes. No torch in here."""

from __future__ import annotations

import re
from pathlib import Path

# Names that claim to be media: such a file with other content is reported, any other file is passed over.
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .divx .wmv .asf .flv .f4v .mpg .mpeg .m2v .vob .ts .mts .m2ts .3gp .3g2 .gif .ogv "
    ".mxf .dv .h264 .264 .h265 .265 .hevc .ivf .y4m .nut .rm .rmvb .mjpeg .mjpg".split()
)
PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .png .apng .bmp .webp .tif .tiff .avif .heic .heif .jp2 .pgm .ppm .pnm .exr".split()
)
MEDIA_SUFFIXES = VIDEO_SUFFIXES | PICTURE_SUFFIXES
SOUND_SUFFIXES = frozenset(".mp3 .m4a .m4b .aac .ogg .oga .opus .flac .wav .wma .ac3 .mka .aif .aiff".split())
MIN_STRIP_FRAMES = 4  # below that, a wide picture is just a wide picture
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"sidx", b"moof")
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_IMAGE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"v/1\x01")
_VIDEO_STARTS = (
    *(b"\x1aE\xdf\xa3", b"GIF8", b"FLV", b"OggS", b"0&\xb2u", b"YUV4MPEG2", b"DKIF", b".RMF"),
    *(b"\0\0\x01\xba", b"\0\0\x01\xb3", b"\0\0\x01\xb0"),  # MPEG-1/2 programs and pictures, MPEG-4 part 2
    *(b"\x06\x0e\x2b\x34", b"nut/multimedia container\0"),  # MXF, NUT
)
# First units of raw H.264 (parameters, delimiter, information) and of raw HEVC, after the start code.
_UNITS = (b"\x67", b"\x27", b"\x47", b"\x09", b"\x06", b"\x40\x01", b"\x42\x01", b"\x46\x01", b"\x4e\x01")


def natural(name: str) -> list:
    """Sort key under which `frame2` comes before `frame10`."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", name)]


def sniff(path: Path) -> str:
    """`video`, `image`, `array`, `text`, `empty` or `other`, from the first bytes of a file.

    Where these say nothing, a name that claims to be a video is believed: the decoder has the last word.
    """
    with open(path, "rb") as file:
        head = file.read(1024)
    suffix = path.suffix.lower()
    kind = _content(head, suffix)
    return "video" if kind == "other" and suffix in VIDEO_SUFFIXES else kind


def _content(head: bytes, suffix: str) -> str:
    if not head:
        return "empty"
    if head.startswith(b"\xff\xd8\xff") and suffix in (".mjpeg", ".mjpg"):
        return "video"  # pictures one after the other
    if head.startswith(_IMAGE_STARTS):
        return "image"
    if head.startswith(b"BM"):  # weak alone: a bitmap also has four zero bytes at offset 6
        return "image" if head[6:10] == b"\0\0\0\0" else _text_or_other(head)
    if head.startswith((b"P5", b"P6")) and suffix in (".pgm", ".ppm", ".pnm"):
        return "image"
    if head.startswith(b"\x93NUMPY"):
        return "array"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image", b"AVI ": "video"}.get(head[8:12], "other")
    if head[4:8] in _MP4_BOXES:
        return "image" if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS else "video"
    if head.startswith(_VIDEO_STARTS) or _is_raw_stream(head) or _is_transport_stream(head):
        return "video"
    return _text_or_other(head)


def _is_raw_stream(head: bytes) -> bool:
    """Whether H.264 or HEVC begins here without a container, or a DV tape."""
    for code in (b"\0\0\0\1", b"\0\0\1"):
        if head.startswith(code):
            return head[len(code) :].startswith(_UNITS)
    return head[:3] == b"\x1f\x07\0" and head[3:4] in (b"\x3f", b"\xbf")


def _is_transport_stream(head: bytes) -> bool:
    """Whether four packets of an MPEG transport stream follow each other: 188 bytes, 192 (AVCHD) or 204."""
    return any(
        all(head[first + n * size : first + n * size + 1] == b"\x47" for n in range(4))
        for size in (188, 192, 204)
        for first in range(size)
    )


def _text_or_other(head: bytes) -> str:
    if b"\0" in head:
        return "other"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut at the end of what was read is still text.
        return "text" if error.start >= len(head) - 3 and len(head) == 1024 else "other"
    return "text"


def strip_frames(width: int, height: int) -> int | None:
    """Number of square frames if an image of this size is a strip of them (either direction), else None."""
    long, short = max(width, height), max(1, min(width, height))
    return long // short if long % short == 0 and long // short >= MIN_STRIP_FRAMES else None


def list_images(folder: Path) -> tuple[str, ...]:
    """Names of the images in a folder, in natural order."""
    files = sorted((p for p in folder.iterdir() if p.is_file() and p.name[0] != "."), key=lambda p: natural(p.name))
    return tuple(p.name for p in files if sniff(p) == "image")
