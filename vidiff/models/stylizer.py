"""What families share that give films a style: the style itself, the frozen network that tells it, film to stylized."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidiff.clip import clip_to_frames, thwc_to_clip, uint8_to_unit, unit_to_signed
from vidiff.consistency import style_grams
from vidiff.errors import UsageError
from vidiff.files import sha256_of
from vidiff.models.record import inform
from vidiff.models.translation import OneWay, expected
from vidiff.models.turn import Terms
from vidiff.nn.style_maps import ExtractorName, StyleExtractor, available_extractor, style_extractor
from vidiff.video.style_source import read_style

SHIPPED = Path(__file__).parents[1] / "pretrained" / "style.png"  # embedded scenes in the style `sketch`


class StyleTranslator(OneWay):
    """A translation from films to the same in one style. The style is read to train and to measure: a checkpoint names
    it and holds its sha256, and makes clips without it.

    A family calls `set_style` in its `__init__` and implements `objective`.
    """

    way = ("stylize", "film", "stylized")

    def set_style(self, style: str | None, extractor: ExtractorName | None) -> None:
        """Keep where the style is, and what its features are to be told by; nothing is read yet."""
        self.style, self.extractor = SHIPPED if style is None else Path(style), extractor
        self.register_buffer("style_sha256", torch.zeros(32, dtype=torch.uint8))  # zeros: not known

    def objective(self, source: Tensor, result: Tensor) -> Terms:
        """Weighted, named terms of clips (B, C, T, H, W) in [-1, 1] and of what became of them."""
        raise NotImplementedError

    @cached_property
    def extract(self) -> StyleExtractor:
        """See `style_extractor`."""
        return style_extractor(self.extractor or available_extractor())

    @cached_property
    def grams(self) -> list[Tensor]:
        """The style's Gram matrices, of its frames at the height of a clip."""
        frames = read_style(self.style, self.spec.resolution)
        return style_grams(self.extract, [self.colors(_picture(frame)) for frame in frames])

    def colors(self, clip: Tensor) -> Tensor:
        """Clips (B, C, T, H, W), of any colors -> frames (B*T, 3, H, W) as this model has them: grey of one channel."""
        frames = clip_to_frames(clip)
        return (frames.mean(1, keepdim=True) if self.spec.channels == 1 else frames).expand(-1, 3, -1, -1)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":  # what is missing is said before the training
            _ = self.grams
            self.style_sha256.copy_(self._digest())

    def on_train_start(self) -> None:
        super().on_train_start()
        if not torch.equal(own := self._digest(), self.style_sha256.cpu()):  # a checkpoint has brought its own
            inform(f"model.style {self.style} is not the style that the checkpoint was trained for")
            self.style_sha256.copy_(own)

    def _digest(self) -> Tensor:
        return torch.frombuffer(bytearray.fromhex(sha256_of(self.style)), dtype=torch.uint8)

    def check_style(self, path: str | Path) -> None:
        """Raise UsageError where a file is not the style that this model was trained for, as far as that is known."""
        trained = bytes(self.style_sha256.tolist()).hex()
        if any(self.style_sha256.tolist()) and sha256_of(path) != trained:
            wanted = f"{self.style.name} (sha256 {trained[:12]}...)"
            raise UsageError(f"style {path}: the checkpoint was trained for another one, {wanted}")


def _picture(frame: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> a clip (1, 3, 1, H, W) in [-1, 1]."""
    return unit_to_signed(uint8_to_unit(thwc_to_clip(frame[None])))[None]


def stylizer(model: object) -> StyleTranslator:
    """The model, where it gives films a style.

    Raises:
        UsageError: it does not.
    """
    return expected(model, StyleTranslator, "gives films no style: train one with experiments/style.yaml")
