"""Optional terms of a translation between two domains: through optical flow, prediction and frozen features.

For G: A -> B with its way back F, each off at weight 0:

    flow_weight         E |M_t (G(a)_t - warp(G(a)_{t-1}, flow_t))|         G(a) moves as a does
    stereo_weight       E |M (G(a)_right - warp(G(a)_left, disparity))|        G(a)'s eyes agree as a's do
    recycle_weight      E |F(P_B(G(a)))_t - a_t| + E |P_A(a)_t - a_t|       a's future, foretold in B, comes back
    perceptual_weight   mean_l E (f_l(F(G(a))) - f_l(a))^2                  the cycle in features

Flow: the source's, from frame t to frame t-1, with the mask M of pixels that were to be seen there
(`vidiff.flow.backward_flow`; Lai et al. 2018, 1808.00449, mask by brightness instead). Recycle-GAN (Bansal et al. 2018,
1808.05174, weights 10): predictors P of frame t from t-2 and t-1, one a domain, train together with G and F; distances
are those of the cycle (the paper's equations square them, `cycle_loss: mse`). Features: the cycle in the maps f_l of a
frozen network (Johnson et al. 2016, 1603.08155; on the cycle: Engin et al. 2018, 1805.05308).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor, nn

from vidiff.clip import ClipSpec, eyes_as_frames
from vidiff.consistency import feature_distance, flow_consistency, reconstruction
from vidiff.errors import UsageError
from vidiff.flow import FlowKind, FlowMethod, backward_flow, flow_method
from vidiff.nn.perceptual import FeatureMaps, FeatureNetwork, feature_maps
from vidiff.nn.resnet import NextFrame


def predictors(spec: ClipSpec) -> dict[str, nn.Module]:
    """The networks P of both domains, to stand beside the generators and train with them.

    Raises:
        UsageError: clips are too short to foretell anything.
    """
    if spec.num_frames < 3:
        raise UsageError(f"model.recycle_weight needs clips of 3 frames or more, got num_frames={spec.num_frames}")
    return {f"next_{d}": NextFrame(spec) for d in "ab"}


@dataclass
class Consistency:
    """The optional terms of a translation between domains `a` and `b`.

    Args:
        flow_weight, recycle_weight, perceptual_weight: see above; the second needs the `predictors`.
        flow: where it comes from: `dis` or `raft`, see `vidiff.flow.flow_method`.
        perceptual: whose features: `lite0`, `vgg16` or `vgg16_hed`, see `vidiff.nn.perceptual.feature_maps`.
        cycle_loss: distance of clips, `l1` or `mse`.
        stereo_weight: see above, of clips that hold two eyes side by side; the disparity is a's, found as flow.
    """

    flow_weight: float = 0.0
    flow: FlowKind = "dis"
    recycle_weight: float = 0.0
    perceptual_weight: float = 0.0
    perceptual: FeatureNetwork = "lite0"
    cycle_loss: Literal["l1", "mse"] = "l1"
    stereo_weight: float = 0.0

    # Built when first needed, so that a checkpoint translates where OpenCV or the weights of features are missing.
    @cached_property
    def flow_of(self) -> FlowMethod:
        return flow_method(self.flow)

    @cached_property
    def maps_of(self) -> FeatureMaps:
        return feature_maps(self.perceptual)

    def prepare(self) -> None:
        """Build what the terms need: what is missing fails before a training starts."""
        _ = (self.flow_weight or self.stereo_weight) and self.flow_of
        _ = self.perceptual_weight and self.maps_of

    def terms(
        self, networks: Mapping[str, nn.Module], x: Tensor, fake: Tensor, rec: Tensor, source: str, target: str
    ) -> dict[str, Tensor]:
        """The terms of one direction.

        Args:
            networks: generators `a2b` and `b2a`, and the `predictors` where there are.
            x, fake, rec: a clip of the source domain, its translation, and its return (B, C, T, H, W).
            source, target: letters of the domains.
        """
        terms = {}
        if self.flow_weight and x.shape[2] > 1:
            terms[f"flow_{target}"] = self.flow_weight * flow_consistency(fake, *backward_flow(x, self.flow_of))
        if self.stereo_weight:
            error = flow_consistency(eyes_as_frames(fake), *backward_flow(eyes_as_frames(x), self.flow_of))
            terms[f"stereo_{target}"] = self.stereo_weight * error
        if self.recycle_weight:
            # P's last prediction lies beyond the clip.
            future, foretold = x[:, :, 2:], networks[f"next_{target}"](fake)[:, :, :-1]
            own, back = networks[f"next_{source}"](x)[:, :, :-1], networks[f"{target}2{source}"](foretold)
            terms[f"recycle_{source}"] = self.recycle_weight * reconstruction(back, future, self.cycle_loss)
            terms[f"predict_{source}"] = self.recycle_weight * reconstruction(own, future, self.cycle_loss)
        if self.perceptual_weight:
            distance = feature_distance(self.maps_of(rec), self.maps_of(x))
            terms[f"perceptual_{source}"] = self.perceptual_weight * distance
        return terms
