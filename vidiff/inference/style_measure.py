"""How near a restyled film is to its style, how much of its content is left, and how much it flickers."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.consistency import SEEN, gram_distance, style_grams, warp_error
from vidiff.flow import backward_flow, flow_method
from vidiff.nn.style_maps import StyleExtractor
from vidiff.video.shots import is_cut

SUMS = ("gram", "source_gram", "cosine", "warp", "source_warp")


class StyleMeasure:
    """Running means over the frames of films; every frame of the result is compared with its own source.

    - Gram distance: mean over layers of |G - S| / |S|, of the result over that of the source.
    - content cosine: between the content maps of result and source.
    - warp error: mean of |y_t - w(y_t-1)| where the source's pixel was seen before, w the warp by the source's flow
      (Lai et al. 2018, 1808.00449), of the result over that of the source; cuts are left out.

    Args:
        extract: see `style_extractor`.
        style: frames of the style (1, 3, h, w) in [-1, 1].
    """

    def __init__(self, extract: StyleExtractor, style: list[Tensor]):
        self.extract, self.grams, self.flow = extract, style_grams(extract, style), flow_method("dis")
        self.sums: dict[str, list[float]] = {
            name: [] for name in ("gram", "source_gram", "cosine", "warp", "source_warp")
        }
        self._before: tuple[np.ndarray, Tensor, Tensor] | None = None

    @torch.no_grad()
    def add(self, image: np.ndarray, source: Tensor, result: Tensor) -> None:
        """One frame, and what became of it.

        Args:
            image: as it was read, uint8 (H, W, 3).
            source, result: float (1, 3, h, w) in [-1, 1], of one size.
        """
        a, b = self.extract(source), self.extract(result)
        for name, maps in (("source_gram", a), ("gram", b)):
            self.sums[name].append(float(gram_distance(maps.layers, self.grams)))
        cosine = F.cosine_similarity(a.content.flatten(), b.content.flatten(), dim=0)
        self.sums["cosine"].append(float(cosine))
        if self._before is not None and not is_cut(self._before[0], image):
            _, source_before, result_before = self._before
            flow, seen = backward_flow(torch.stack([source_before, source], 2), self.flow)
            if float(seen.mean()) >= SEEN:
                for name, y, before in (("source_warp", source, source_before), ("warp", result, result_before)):
                    self.sums[name].append(float(warp_error(torch.stack([before, y], 2), flow, seen)))
        self._before = image, source, result

    def values(self) -> dict[str, float]:
        """`gram_ratio`, `content_cosine`, and, of films of several frames, `warp_ratio`."""
        mean = {name: float(np.mean(found)) for name, found in self.sums.items() if found}
        out = {"gram_ratio": mean["gram"] / mean["source_gram"], "content_cosine": mean["cosine"]}
        if mean.get("source_warp"):
            out["warp_ratio"] = mean["warp"] / mean["source_warp"]
        return out

    def summary(self) -> str:
        """The values in a line."""
        found = self.values()
        text = f"Gram distance to the style {found['gram_ratio']:.2f} of the input's, content cosine "
        text += f"{found['content_cosine']:.2f}"
        return text + (f", warp error {found['warp_ratio']:.2f} of the input's" if "warp_ratio" in found else "")
