"""Hide a key in videos where nobody sees it, and look for it in others; train the networks for that."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from vidiff.errors import RunError, listed
from vidiff.progress import say


def embed(*, input: Path, output: Path, key: str, psnr: float = 40.0, ckpt: Path | None = None) -> None:
    """Hide a key in every frame of a video, or of every video of a folder; times, sizes and sound stay.

    Args:
        input, output, key, psnr, ckpt: see `vidiff.inference.watermark.embed_watermark`.
    """
    from vidiff.inference.watermark import embed_watermark

    results = embed_watermark(input, output, key, ckpt=ckpt, psnr=psnr, say=say)
    for result in results:
        if result.path:
            print(f"{result.frames} frames in {result.path}")
    if failed := [result.error for result in results if result.error]:
        raise RunError(f"{len(failed)} of {len(results)} files could not be marked:{listed(failed)}")


def read(videos: list[Path], *, key: list[str] | None = None, ckpt: Path | None = None, json_: bool = False) -> None:
    """Print the message that videos carry, and whether it is that of a key; without a mark it is a random one.

    Args:
        videos: files.
        key: one or more texts that may have been hidden.
        ckpt: see `vidiff.inference.watermark.embed_watermark`.
        json_: print a JSON list.
    """
    from vidiff.inference.watermark import read_watermark

    found = read_watermark(videos, key or (), ckpt=ckpt)
    if json_:
        print(json.dumps([asdict(one) for one in found], indent=2))
    for one in found:
        if json_ or one.error:
            continue
        print(f"{one.video}: message {one.message} in {one.frames} frames")
        for k in one.keys:
            verdict = "marked with it" if k.sure else "no mark of it"
            print(f"  key {k.key!r}: {k.matched} of {one.bits} bits agree, by chance {k.p_value:.1e}: {verdict}")
    if failed := [one.error for one in found if one.error]:
        raise RunError(f"{len(failed)} of {len(found)} files could not be read:{listed(failed)}")


def train(config: str, *, output: Path) -> None:
    """Train a watermark: networks that write and read it, against a judge of what can be seen, with H.264 between.

    Args:
        config: experiments/watermarks/NAME.yaml, or a file of yours with the same keys.
        output: the watermark, ending in .safetensors.
    """
    from vidiff.inference.watermark_training import (
        check_mark_output,
        read_watermark_config,
        train_watermark,
        write_mark,
    )

    settings = read_watermark_config(config)
    check_mark_output(output)
    write_mark(output, train_watermark(settings, say), settings)
    print(f"watermark in {output}")
