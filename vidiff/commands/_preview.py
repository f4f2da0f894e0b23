"""`vidiff data preview`: original and augmented clips side by side, as a contact sheet and as a video."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vidiff.errors import UsageError
from vidiff.files import read_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--config", action="append", default=[], help="YAML with a data: section; may be repeated")
    parser.add_argument("--root", help="folder of videos; overrides the config's")
    parser.add_argument("--augment", help="none | light | standard | strong; overrides the config's")
    parser.add_argument("--num_frames", type=int, help="overrides the config's")
    parser.add_argument("--resolution", type=int, help="overrides the config's")
    parser.add_argument("--clips", type=int, default=6, help="clips shown")
    parser.add_argument("--out", type=Path, default=Path("preview.png"), help="contact sheet; the video lies beside it")


def run(args: argparse.Namespace) -> int:
    """Write the sheet and the video."""
    import torch

    from vidiff.clip import signed_to_uint8
    from vidiff.video.sheet import grid_mp4, sheet
    from vidiff.video.write import write_png

    if args.out.suffix.lower() != ".png":
        raise UsageError(f"--out {args.out}: must end in .png")
    if args.clips < 1:
        raise UsageError(f"--clips must be at least 1, got {args.clips}")
    data = datamodule(args)
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    augmented = data.to_float(batch, augment=True)
    groups, tiles = [], []
    for name in [name for name in ("clip", "clip_a", "clip_b") if name in batch]:
        for i in range(min(args.clips, len(batch[name]))):
            pair = torch.stack([batch[name][i], signed_to_uint8(augmented[name][i])])  # (2, C, T, H, W)
            groups.append((f"{name} {i}: as it is, and augmented", pair))
            tiles += [*pair]
    write_png(args.out, sheet(groups))
    video = args.out.with_suffix(".mp4")
    grid_mp4(video, tiles, fps=data.index.fps or 8, columns=2 * max(1, round(len(groups) ** 0.5 / 2)))
    print(f"{args.out}: {len(groups)} clips, each as it is and augmented; {video}: the same, moving (left, right)")
    return 0


def datamodule(args: argparse.Namespace) -> Any:
    """The datamodule that the options describe, without workers."""
    import jsonargparse
    from lightning.pytorch import LightningDataModule

    from vidiff.data import domains  # noqa: F401  (gives the classes their short names)

    section: dict[str, Any] = {"class_path": "ClipDataModule", "init_args": {}}
    for path in args.config:
        given = _data_section(path)
        section["class_path"] = given.get("class_path", section["class_path"])
        section["init_args"] |= given.get("init_args") or {}
    for name in ("root", "augment", "num_frames", "resolution"):
        if getattr(args, name) is not None:
            section["init_args"][name] = getattr(args, name)
    section["init_args"] |= {"num_workers": 0, "batch_size": args.clips}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    try:
        return parser.instantiate_classes(parser.parse_object({"data": section})).data
    except (jsonargparse.ArgumentError, ValueError) as error:
        if isinstance(error.__cause__, UsageError):  # ours, wrapped in a page about types
            raise error.__cause__ from None
        raise UsageError(" ".join(str(error).split())) from error


def _data_section(path: str) -> dict[str, Any]:
    from vidiff.paths import experiments_dir

    file = Path(path)
    if not file.is_file():
        file = experiments_dir() / (file.relative_to("experiments") if file.parts[:1] == ("experiments",) else file)
    try:
        content = read_yaml(file)
    except OSError:
        raise UsageError(f"--config {path}: no such file") from None
    section = content.get("data")
    if section is None or isinstance(section, str):
        return {"class_path": section} if section else {}
    if not isinstance(section, dict):
        raise UsageError(f"--config {path}: data: must hold class_path and init_args")
    return section if "init_args" in section or "class_path" in section else {"init_args": section}
