"""The augmentation pipeline: Kornia's operators and ours in one list, keyed and exact over processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import kornia.augmentation as K
import torch
from kornia.augmentation.auto.base import PolicyAugmentBase
from kornia.augmentation.base import _BasicAugmentationBase
from torch import Tensor, nn

from vidiff.augment.geometry import ResizedCrop
from vidiff.augment.splice import Splice
from vidiff.augment.time_warp import Reversal, SpeedCurve, TimeMap
from vidiff.clip import clip_to_frames, frames_to_clip
from vidiff.errors import UsageError
from vidiff.keyed import forked

# Kornia's operators that treat each channel by itself; its geometric ones do, too.
CHANNELWISE = {K.RandomBoxBlur, K.RandomErasing, K.RandomGaussianBlur, K.RandomMedianBlur, K.RandomMotionBlur}
# Operators after which what moves is as fast as before.
KEEP_SPEED = (K.IntensityAugmentationBase2D, K.RandomHorizontalFlip, K.RandomVerticalFlip, Reversal)
# Parameters that describe the call and not one clip each.
SHARED = {"order", "forward_input_shape"}
CPU = torch.device("cpu")


class LabelMix(NamedTuple):
    """Labels after splicing: the loss is `weight * loss(label) + (1 - weight) * loss(other)`.

    Args:
        label: int64 (B,), the labels that were passed in.
        other: int64 (B,), the label of the clip that each clip was joined with (its own where there was none).
        weight: float32 (B,) in [0, 1], share of the frames that are the clip's own.
    """

    label: Tensor
    other: Tensor
    weight: Tensor

    def soft(self, num_classes: int) -> Tensor:
        """Label weights (B, num_classes) that sum to 1."""
        own = nn.functional.one_hot(self.label, num_classes).to(self.weight)
        other = nn.functional.one_hot(self.other, num_classes).to(self.weight)
        return self.weight[:, None] * own + (1 - self.weight[:, None]) * other


def _view(op: nn.Module) -> str:
    """How the frames of a clip are laid out for one call of `op`.

    `clip`: as they are, for 3D operators. `channels`: (B, C*T, H, W), without a copy and with parameters per clip, for
    operators that treat channels alike. `frames`: (B*T, C, H, W) with parameters repeated, right for all others.
    """
    if isinstance(op, K.AugmentationBase3D):
        return "clip"
    if isinstance(op, PolicyAugmentBase):
        return "frames"
    known = type(op).__module__.partition(".")[0] in ("kornia", "vidiff")
    alike = type(op) in CHANNELWISE or (known and isinstance(op, K.GeometricAugmentationBase2D))
    fills = [op.flags.get(name) for name in ("fill", "fill_value")]  # may hold one value per channel
    return "channels" if alike and all(isinstance(f, (int, float, type(None))) for f in fills) else "frames"


def _per_frame(params: Any, frames: int) -> Any:
    """Repeat every per-clip parameter for each frame of its clip: (B, ...) -> (B*T, ...)."""
    if isinstance(params, dict):
        return {k: v if k in SHARED or v.ndim == 0 else v.repeat_interleave(frames, 0) for k, v in params.items()}
    return [p._replace(data=_per_frame(p.data, frames)) if p.data is not None else p for p in params]


def _take(params: Any, rows: Tensor, total: int) -> Any:
    """Keep the given rows of parameters drawn for `total` clips (dict of tensors, or Kornia's nested lists of them)."""
    if not isinstance(params, dict):
        return [p._replace(data=_take(p.data, rows, total)) if p.data is not None else p for p in params]
    kept = dict(params)
    for name, value in params.items():
        if name not in SHARED and value.ndim:
            kept[name] = value[rows] if len(value) == total else value.expand(len(rows), *value.shape[1:])
    if "ksize_factor" in params and "idx" in params:  # RandomMotionBlur: one row's kernel size serves all clips
        kept["ksize_factor"] = params["ksize_factor"][params["idx"]].expand(len(rows))
        kept["idx"] = torch.zeros(len(rows), dtype=torch.long)
    return kept


class Augment(nn.Module):
    """A list of operators applied in order, each clip with its own parameters, all frames of a clip with the same.

    Every operator is a Kornia augmentation (2D ones see the frames, 3D ones the clip; containers and automatic
    policies too), one of ours, or a plain deterministic module on frames (N, C, H, W). Its parameters are drawn on
    the CPU for the *global* batch under `vidiff.keyed.forked(*key, position)` and cut to the rows of this process:
    two processes with B clips each do what one does with 2B, the caller's random state is untouched, and nothing is
    remembered between calls. (Operators that join two clips pair the neighbours 2k and 2k+1, so they need an even B.)

    `eval()` does not switch it off, as with Kornia: the caller decides.

    Args:
        ops: the operators.
    Raises:
        UsageError: an entry is not an operator that can be kept exact over processes.
    """

    def __init__(self, ops: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.ops = nn.ModuleList(ops).requires_grad_(False)  # the parameters of Kornia's policies are not trained
        for op in self.ops.modules():
            if isinstance(op, K.MixAugmentationBaseV2):
                raise UsageError(
                    f"augment: {type(op).__name__} mixes clips of a batch in a way that depends on the number of "
                    "processes; vidiff.augment.Splice joins clips and keeps their labels"
                )
            if isinstance(op, K.PatchSequential):
                raise UsageError("augment: PatchSequential cuts pictures into patches and is not supported on clips")

    @property
    def joins_clips(self) -> bool:
        """Whether any operator makes one clip of two, so that labels are mixed."""
        return any(isinstance(op, Splice) for op in self.ops.modules())

    @property
    def keeps_speed(self) -> bool:
        """Whether what moves is as fast afterwards: colours and flips alone do so for certain."""
        return all(isinstance(op, KEEP_SPEED) for op in self.ops)

    def forward(
        self,
        clip: Tensor,
        key: tuple[int | str, ...],
        offset: int = 0,
        total: int | None = None,
        label: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, LabelMix]:
        """Augment clips.

        Args:
            clip: float (B, C, T, H, W) in [0, 1].
            key: what the random parameters are a function of, such as (seed, "augment", step).
            offset: position of the first clip in the global batch.
            total: clips in the global batch; offset + B when left out.
            label: int64 (B,), optional.
        Returns:
            The clips, same layout and range; with `label`, the pair (clips, `LabelMix`).
        Raises:
            ValueError: wrong layout or dtype, or rows outside the global batch.
        """
        if clip.ndim != 5 or not clip.is_floating_point():
            raise ValueError(f"expected float clips (B, C, T, H, W), got {clip.dtype} {tuple(clip.shape)}")
        total = offset + len(clip) if total is None else total
        if offset < 0 or offset + len(clip) > total:
            raise ValueError(f"rows {offset}..{offset + len(clip)} do not lie in a global batch of {total}")
        # Share of its own label in every frame, kept as clips so that time warps carry it along.
        own = torch.ones(len(clip), 1, clip.shape[2], 1, 1)
        for position, op in enumerate(self.ops):
            with forked(*key, position):
                for leaf in self._leaves(op):
                    clip, own = self._operate(leaf, clip, own, offset, total)
        if len(self.ops):
            clip = clip.clamp(0, 1)  # noise, for one, is not bounded
        if label is None:
            return clip
        return clip, LabelMix(label, label[_partners(label, offset)], own.mean((1, 2, 3, 4)).to(clip.device))

    def _leaves(self, op: nn.Module) -> Iterator[nn.Module]:
        """The operators of a container, in the (possibly random) order of this call."""
        if isinstance(op, K.ImageSequential):  # also VideoSequential and AugmentationSequential
            for _, child in list(op.get_forward_sequence()):
                yield from self._leaves(child)
        elif type(op) is nn.Sequential:
            for child in op:
                yield from self._leaves(child)
        else:
            yield op

    def _operate(self, op: nn.Module, clip: Tensor, own: Tensor, offset: int, total: int) -> tuple[Tensor, Tensor]:
        """Apply one operator to clips (B, C, T, H, W) and keep account of `own` (B, 1, T, 1, 1)."""
        b, c, t, h, w = clip.shape
        if not hasattr(op, "forward_parameters"):
            return frames_to_clip(op(clip_to_frames(clip)), t), own
        for part in op.modules():  # draws must not depend on the device or the precision the module was moved to
            if isinstance(part, _BasicAugmentationBase) and (part.device, part.dtype) != (CPU, torch.float32):
                part.set_rng_device_and_dtype(CPU, torch.float32)
        view = _view(op)
        params = op.forward_parameters(torch.Size((total, c, t, h, w) if view == "clip" else (total, c, h, w)))
        rows = torch.arange(offset, offset + b)
        if isinstance(op, PolicyAugmentBase):
            params = _per_frame(_take(params, rows, total), t)
            return frames_to_clip(op(clip_to_frames(clip), params=params), t), own
        # Only the clips that were chosen are worked on; the choice is on the CPU, so nothing waits for the device.
        chosen = (params["batch_prob"][rows] > 0.5).nonzero()[:, 0]
        if isinstance(op, Splice):
            params = {**_take(params, rows, total), "partner": _partners(rows, offset)}
            return op(clip, params=params), op.account(own, params)
        params = _take(params, rows[chosen], total)
        out = _on_rows(op, view, clip, chosen, params)
        if isinstance(op, TimeMap):
            own = _on_rows(op, view, own, chosen, params)
        elif out.shape[2] != t:
            own = own.mean(2, keepdim=True).expand(-1, -1, out.shape[2], -1, -1)
        return out, own


def _on_rows(op: nn.Module, view: str, clip: Tensor, chosen: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Replace the chosen clips by what the operator makes of them."""
    if len(chosen) == 0:
        return clip
    if len(chosen) == len(clip):
        return _call(op, view, clip, params)
    index = chosen.to(clip.device)
    part = clip.index_select(0, index)
    out = _call(op, view, part, params)
    if out.shape != part.shape:
        raise UsageError(f"augment: {type(op).__name__} changes the size of a clip, so it needs p=1")
    return clip.index_copy(0, index, out.to(clip.dtype))


def _call(op: nn.Module, view: str, clip: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Run a Kornia operator on clips (B, C, T, H, W) with given parameters, one row per clip."""
    b, c, t, h, w = clip.shape
    params["forward_input_shape"] = torch.tensor((b, *params["forward_input_shape"].tolist()[1:]))
    if view == "clip":
        return op(clip, params=params)
    if view == "channels":
        out = op(clip.reshape(b, c * t, h, w), params=params)  # (B, C*T, H', W')
        return out.reshape(b, c, t, *out.shape[-2:])
    return frames_to_clip(op(clip_to_frames(clip), params=_per_frame(params, t)), t)


def _partners(rows: Tensor, offset: int) -> Tensor:
    """Local index of each row's neighbour (global rows 2k <-> 2k+1); its own where that is in another process."""
    own = torch.arange(len(rows), device=rows.device)
    other = ((own + offset) ^ 1) - offset
    return torch.where((other >= 0) & (other < len(rows)), other, own)


def _standard() -> list[nn.Module]:
    return [
        SpeedCurve((0.0, 1.0), p=0.5),
        ResizedCrop((0.7, 1.0), (0.9, 1.1), p=0.5),
        K.RandomHorizontalFlip(p=0.5),
        K.ColorJitter(0.2, 0.2, 0.2, 0.05, p=0.5),
    ]


def _strong() -> list[nn.Module]:
    return [
        *_standard(),
        Splice((0.25, 0.5), p=0.3),
        K.RandomGaussianBlur((3, 3), (0.1, 1.5), p=0.2),
        K.RandomGaussianNoise(std=0.03, p=0.2),
    ]


PRESETS = {
    "none": list,
    "light": lambda: [K.RandomHorizontalFlip(p=0.5)],
    "standard": _standard,
    "strong": _strong,
}


def build_augment(spec: str | Iterable[nn.Module] = "none") -> Augment:
    """The pipeline for a preset name or for a list of operators.

    Args:
        spec: `none`; `light` (flip); `standard` (speed curve, resized crop, flip, colour); `strong` (that, splice, blur
            and noise); or operators, Kornia's and ours, freely mixed.
    Raises:
        UsageError: unknown preset, or an entry that is not a module.
    """
    if isinstance(spec, str):
        if spec not in PRESETS:
            raise UsageError(f"augment: unknown preset {spec!r}; accepted: {', '.join(PRESETS)}, or a list")
        return Augment(PRESETS[spec]())
    ops = list(spec) if isinstance(spec, Iterable) else [spec]
    for op in ops:
        if not isinstance(op, nn.Module):
            raise UsageError(
                f"augment: {op!r} is not an operator; give a preset ({', '.join(PRESETS)}) or a list of modules such "
                "as kornia.augmentation.RandomHorizontalFlip(p=0.5)"
            )
    return Augment(ops)
