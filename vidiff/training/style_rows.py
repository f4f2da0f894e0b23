"""What is measured of clips in a style against their sources: how near, how faithful, how steady."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import uint8_to_unit, unit_to_signed
from vidiff.consistency import gram_distance, warp_error, within_shots
from vidiff.flow import FlowMethod, backward_flow
from vidiff.metrics.gather import gathered_means
from vidiff.models.stylizer import StyleTranslator

ROW = ("objective", "gram", "source_gram", "content_cosine", "warp", "source_warp")
PROTOCOL = {
    "gram_ratio": "mean over layers of |G - S| / |S|, Gram matrices of the result and of the style, over the source's",
    "content_cosine": "between the content maps of result and source, mean over frames",
    "warp_ratio": "mean |y_t - w(y_t-1)| where the source's pixel was seen before, over the source's own (DIS flow)",
    "objective": "what the training minimizes, of these clips by the moving average",
}


@torch.no_grad()
def row_of(model: StyleTranslator, clips: Tensor, stylized: Tensor, flow: FlowMethod | None) -> Tensor:
    """Everything in ROW of each clip, float32 (B, len(ROW)) on the CPU; NaN is what is not known.

    Args:
        model: made `stylized`.
        clips, stylized: uint8 (B, C, T, H, W).
        flow: see `flow_method`; None: no warp is measured.
    """
    x, y = (unit_to_signed(uint8_to_unit(c.to(model.device))) for c in (clips, stylized))
    count, frames = len(x), x.shape[2]
    maps = [model.extract(model.colors(clip)) for clip in (x, y)]
    grams = [gram.to(x) for gram in model.grams]
    source_gram, gram = (gram_distance(m.layers, grams).view(count, frames).mean(1) for m in maps)  # (B*T,) -> (B,)
    flat = (m.content.flatten(1) for m in maps)
    cosine = F.cosine_similarity(*flat, dim=1).view(count, frames).mean(1)
    objective = torch.stack(list(model.objective(x, y).values())).sum().expand(count)
    unknown = torch.full((count,), math.nan)
    source_warp = warp = unknown
    if flow is not None and frames > 1:
        back, seen = backward_flow(x, flow)
        source_warp, warp = (warp_error(c, back, within_shots(seen)).nanmean(1) for c in (x, y))
    values = objective, gram, source_gram, cosine, warp, source_warp
    return torch.stack([v.float().cpu() for v in values], dim=1)


def means(table: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Means over the clips of all processes, and the ratios to the sources'; what has no value is left out.

    Args:
        table: (ids, rows) of each batch, see `row_of`.
    """
    mean = gathered_means(ROW, table)
    out = {name: mean[name] for name in ("objective", "content_cosine")}
    out |= {f"{n}_ratio": mean[n] / max(mean[f"source_{n}"], 1e-6) for n in ("gram", "warp")}
    return {name: value for name, value in out.items() if not math.isnan(value)}
