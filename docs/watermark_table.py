"""Bit errors of the watermark, of controls and of RivaGAN: `python docs/watermark_table.py [--riva DIR] [FOLDER ...]`.

Without a folder the clips are 16 embedded scenes that nothing was trained on; of a folder's videos the first 6 frames,
at most 144 pixels of the shorter side. Two of the six are read. DIR holds `rivagan_encoder.onnx` and
`rivagan_decoder.onnx` of the package `invisible-watermark` (needs onnxruntime); its networks are also measured with
what they add scaled to our PSNR. `--ckpt FILE` takes another watermark, `--psnr X` another strength.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidiff import keyed
from vidiff.augment.attacks import per_frame, scaled, through_h264
from vidiff.clip import thwc_to_clip
from vidiff.data.index import build_index
from vidiff.data.shapes.scene import STYLES, render_scene
from vidiff.inference.watermark import PSNR, SHIPPED, chance
from vidiff.inference.watermark_training import marked_clips, messages, read_clips, read_mark
from vidiff.nn.watermark import Watermark
from vidiff.video.open import open_reader

FRAMES, SIDE, SCENES, BITS, SEED = 6, 144, 16, 32, 77
READ = slice(0, None, 3)  # of the frames: all methods read the same two, and the mean of what they say counts
KEYS = 1000  # random ones that unmarked clips are compared with
Method = tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]  # (clip, bits) -> clip; clip -> logits
ATTACKS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "CRF 23": lambda x: through_h264(x, 23),
    "CRF 28": lambda x: through_h264(x, 28),
    "0.5x": lambda x: scaled(x, 0.5),
    "0.5x, CRF 23": lambda x: through_h264(scaled(x, 0.5), 23),
    "10 % off two sides": lambda x: x[..., x.shape[3] // 10 :, x.shape[4] // 10 :],
}


def clips(folders: list[str]) -> Iterator[Tensor]:
    """Clips (1, 3, T, H, W) in [0, 1] with even sides."""
    for n in range(0 if folders else SCENES):
        yield thwc_to_clip(render_scene(SEED, n, STYLES[n % len(STYLES)], FRAMES, 64))[None].float() / 255
    for folder in folders:
        index = build_index(folder, "pyav")
        for entry in index.entries:
            if entry.kind != "video" or entry.num_frames < FRAMES:
                continue
            scale = min(1, SIDE / min(entry.height, entry.width))
            size = [round(side * scale / 2) * 2 for side in (entry.height, entry.width)]
            frames = open_reader(index.root / entry.path).read(range(FRAMES), *size)
            yield thwc_to_clip(frames)[None].float() / 255


def ours(mark: Watermark, psnr: float) -> Method:
    return lambda clip, bits: marked_clips(mark, clip, bits, psnr), lambda clip: read_clips(
        mark, clip[:, :, READ]
    ).mean(1)[0]


def rivagan(folder: Path, psnr: float | None = None) -> Method:
    """Frame by frame, as the package does; bits are the mean over the frames, above its threshold."""
    import onnxruntime

    encoder, decoder = (onnxruntime.InferenceSession(str(folder / f"rivagan_{n}.onnx")) for n in ("encoder", "decoder"))

    def write(frames: Tensor, bits: Tensor) -> Tensor:
        data = ((bits + 1) / 2).numpy().astype(np.float32)
        whole = [encoder.run(None, {"frame": f[None, :, None].numpy() * 2 - 1, "data": data})[0] for f in frames]
        there = (torch.from_numpy(np.concatenate(whole))[:, :, 0].clamp(-1, 1) + 1) / 2
        if psnr is not None:
            added = there - frames
            power = added.square().mean((1, 2, 3), keepdim=True)
            there = (frames + added * (10 ** (-psnr / 10) / power).sqrt()).clamp(0, 1)
        return there

    def read(clip: Tensor) -> Tensor:
        frames = clip[0, :, READ].transpose(0, 1).contiguous()
        said = [decoder.run(None, {"frame": f[None, :, None].numpy() * 2 - 1})[0][0] for f in frames]
        return torch.from_numpy(np.mean(said, 0)) - 0.52

    return lambda clip, bits: per_frame(lambda frames: write(frames, bits), clip), read


def to_8_bits(clip: Tensor) -> Tensor:
    return (255 * clip).round().clamp(0, 255) / 255


@torch.no_grad()
def row(name: str, method: Method, films: list[Tensor]) -> list[Tensor]:
    """Print the row of a method; what it reads in unmarked clips, plain and at CRF 23."""
    write, read = method
    draw, wrong, quality, unmarked = keyed.generator(SEED, "messages"), {a: [] for a in ATTACKS}, [], []
    for film in films:
        bits = messages(1, BITS, draw)
        marked = to_8_bits(write(film, bits))
        quality.append(float(-10 * (marked - film).square().mean().log10()))
        for attack, change in ATTACKS.items():
            wrong[attack].append(float(((read(change(marked)) > 0) != (bits[0] > 0)).float().mean()))
        unmarked += [read(film), read(through_h264(film, 23))]
    cells = [f"{100 * np.mean(w):.1f} ({100 * max(w):.0f})" for w in wrong.values()]
    print(f"| {name} | {np.mean(quality):.1f} ({min(quality):.1f}) | {' | '.join(cells)} |", flush=True)
    return unmarked


def false_positives(name: str, unmarked: list[Tensor]) -> str:
    """Agreement of unmarked clips with one key each, and with many."""
    keys = messages(KEYS, BITS, keyed.generator(SEED, "keys")) > 0
    said = torch.stack(unmarked) > 0
    agree = (said[:, None] == keys[None]).sum(2).double()  # (clips, keys)
    fixed = agree[:, 0]
    return (
        f"{name}: {len(said)} unmarked clips x {KEYS} keys: {agree.mean() / BITS:.4f} of the bits agree (chance 0.5), "
        f"deviation {agree.std():.2f} bits (chance {(BITS / 4) ** 0.5:.2f}), at most {int(agree.max())}; "
        f"28 or more in {int((agree >= 28).sum())} of {agree.numel()} (chance {agree.numel() * chance(28, BITS):.2f}); "
        f"one key: {fixed.mean():.2f} of {BITS}, deviation {fixed.std():.2f}, at most {int(fixed.max())}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--riva", type=Path)
    parser.add_argument("--ckpt", type=Path, default=SHIPPED)
    parser.add_argument("--psnr", type=float, default=PSNR)
    given = parser.parse_args()
    mark, _ = read_mark(given.ckpt)
    psnr, films = given.psnr, list(clips(given.folders))
    methods = {
        "trained": ours(mark, psnr),
        "informed spread spectrum": ours(Watermark(BITS).eval(), psnr),
        "spread spectrum": ours(Watermark(BITS, informed=0.0).eval(), psnr),
    }
    if given.riva:
        methods |= {"RivaGAN": rivagan(given.riva), f"RivaGAN at {psnr} dB": rivagan(given.riva, psnr)}
    print(f"{len(films)} clips, bit error in % (of the worst clip)")
    print(f"| | PSNR, dB (worst) | {' | '.join(ATTACKS)} |\n|{'---|' * (len(ATTACKS) + 2)}")
    said = {name: row(name, method, films) for name, method in methods.items()}
    print("\n".join(false_positives(name, one) for name, one in said.items()))


if __name__ == "__main__":
    main()
