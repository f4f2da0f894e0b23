"""Style transfer in one pass: a network that is trained for one style and gives it to any film.

Johnson, Alahi, Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", 1603.08155, with
the temporal loss of Ruder, Dosovitskiy, Brox 2018, "Artistic Style Transfer for Videos and Spherical Images",
1708.04538. x is a clip, y = G(x), F and F_l the features of a frozen network, G_l their Gram matrices, S_l those of the
style, w the warp of the frame before by the flow of x, M where that was seen before, relative errors |a - b|^2 / |b|^2:

    G minimizes  alpha content(F(y), F(x)) + beta mean_l style(G_l(y), S_l)      means over frames of relative errors
                 + gamma E (d_h y)^2 + (d_w y)^2                                  total variation
                 + delta E M (y_{t+1} - w(y_t))^2                                 successive frames

Paper -> code: alpha, beta, gamma and delta -> `content_weight`, `style_weight`, `smooth_weight`, `temporal_weight`.
Deviations: errors are relative, so that the weights are those for any frozen network, and those of `vidiff stylize`; G
takes each frame by itself, that of Ruder et al. is given the warped result before; the flow is OpenCV's DIS; G begins
as a copy, and results are of its moving average.
"""

from __future__ import annotations

from functools import cached_property

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff.consistency import StyleWeights, flow_consistency, style_terms, within_shots
from vidiff.errors import at_least
from vidiff.flow import FlowMethod, backward_flow, flow_method
from vidiff.models.stylizer import StyleTranslator
from vidiff.models.turn import Terms, Turn
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.resnet import FramePainter
from vidiff.nn.style_maps import ExtractorName
from vidiff.optim import Adam


class StyleTransfer(StyleTranslator):
    """A network of frames that learns one style from clips of any kind.

    Args:
        generator: network factory, from clips to clips.
        optimizer_g: Adam, learning rate 2e-3 and betas (0.9, 0.99).
        style: a picture, or a video, of which up to 8 frames are taken; scaled to the height of a clip. None: one that
            comes with the package, scenes of the embedded set drawn as a sketch.
        extractor: the frozen network whose features tell content and style: `vgg19`, `vgg16`, `vgg16_hed` or `lite0`,
            see `vidiff.nn.style_maps.style_extractor`; None: the first of these that is here.
        content_weight, style_weight, smooth_weight, temporal_weight: alpha, beta, gamma and delta; without delta, or
            with clips of one frame, no flow is needed.
        kwargs: sizes and the training, see `VideoModule`.

    Raises:
        UsageError: a weight is negative.
    """

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: FramePainter(spec),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-3, beta1=0.9, beta2=0.99),
        style: str | None = None,
        extractor: ExtractorName | None = None,
        content_weight: float = 1.0,
        style_weight: float = 5.0,
        smooth_weight: float = 1.0,
        temporal_weight: float = 200.0,
        **kwargs,
    ):
        weights = dict(content=content_weight, style=style_weight, smooth=smooth_weight, temporal=temporal_weight)
        at_least(0, **{f"model.{name}_weight": weight for name, weight in weights.items()})
        super().__init__(generator=generator, optimizer_g=optimizer_g, **kwargs)
        self.set_style(style, extractor)
        self.weights = StyleWeights(**weights)

    @property
    def in_motion(self) -> bool:
        """Whether there are successive frames to hold together."""
        return self.spec.num_frames > 1 and self.weights.temporal > 0

    @cached_property
    def flow(self) -> FlowMethod:
        return flow_method("dis")

    def setup(self, stage: str) -> None:
        super().setup(stage)
        _ = stage == "fit" and self.in_motion and self.flow

    def fake_clips(self, turn: Turn) -> Tensor:
        return self.generator(turn.real)

    def generator_losses(self, turn: Turn) -> Terms:
        return self.objective(turn.real, turn.fake())

    def objective(self, source: Tensor, result: Tensor) -> Terms:
        with torch.no_grad():
            content = self.extract(self.colors(source)).content
        frames, grams = self.colors(result), [gram.to(content) for gram in self.grams]
        terms = style_terms(frames, self.extract(frames), content, grams, self.weights)
        if self.in_motion:
            flow, seen = backward_flow(source, self.flow)
            held = flow_consistency(result, flow.to(result), within_shots(seen), "mse")
            terms["temporal"] = self.weights.temporal * held
        return terms
