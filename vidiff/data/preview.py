"""Clips as they are and augmented, side by side: what `vidiff data preview` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import torch
from lightning.pytorch import LightningDataModule

from vidiff.clip import signed_to_uint8
from vidiff.configs import read_config
from vidiff.data import domains  # noqa: F401  (gives the classes their short names)
from vidiff.errors import UsageError
from vidiff.video.sheet import grid_mp4, sheet
from vidiff.video.write import write_png


def datamodule(configs: Sequence[str], **arguments: Any) -> LightningDataModule:
    """The datamodule that the `data:` sections of configurations describe, without workers.

    Args:
        configs: files as `fit --config` takes them, later ones win; without any, a `ClipDataModule`.
        arguments: of the datamodule; they win over the files. None leaves what these say.

    Raises:
        UsageError: a file or an argument that cannot be used.
    """
    section: dict[str, Any] = {"class_path": "ClipDataModule", "init_args": {}}
    for name in configs:
        given = read_config(name).section("data")
        section = section | given | {"init_args": section["init_args"] | given["init_args"]}
    section["init_args"] |= {name: value for name, value in arguments.items() if value is not None} | {"num_workers": 0}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    try:
        return parser.instantiate_classes(parser.parse_object({"data": section})).data
    except (jsonargparse.ArgumentError, ValueError) as error:
        if isinstance(error.__cause__, UsageError):  # ours, wrapped in a page about types
            raise error.__cause__ from None
        raise UsageError(" ".join(str(error).split())) from error


def preview(data: LightningDataModule, num_clips: int, output: Path) -> tuple[int, Path]:
    """Write a contact sheet, and beside it a video, of training clips as they are and augmented.

    Args:
        data: gives the clips.
        num_clips: most clips that are shown, of each domain.
        output: name of the sheet.

    Returns:
        The number of clips, and the name of the video.
    """
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    augmented = data.to_float(batch, augment=True)
    groups, tiles = [], []
    for name in [name for name in ("clip", "clip_a", "clip_b") if name in batch]:
        for i in range(min(num_clips, len(batch[name]))):
            pair = torch.stack([batch[name][i], signed_to_uint8(augmented[name][i])])  # (2, C, T, H, W)
            groups.append((f"{name} {i}: as it is, and augmented", pair))
            tiles += [*pair]
    write_png(output, sheet(groups))
    video = output.with_suffix(".mp4")
    grid_mp4(video, tiles, fps=data.index.fps or 8, columns=2 * max(1, round(len(groups) ** 0.5 / 2)))
    return len(groups), video
