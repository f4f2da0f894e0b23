"""How well D remembers its training clips: what is compared, and that asking leaves no trace."""

from __future__ import annotations

import pytest
import torch
from helpers import GAMES, TINY

from vidiff.models import families
from vidiff.models.translation import Translator
from vidiff.training.memory import CLIPS, Memory, share_above


class Data:
    """Clips of two splits: bright ones and dark ones."""

    def eval_clips(self, split, num_clips, seed, batch_size):
        level = 200 if split == "train" else 50
        noise = torch.randint(0, 50, (num_clips, 3, 8, 16, 16), generator=torch.Generator().manual_seed(level))
        yield torch.arange(num_clips), (noise + level).to(torch.uint8), torch.zeros(num_clips, dtype=torch.int64)


def test_the_share_of_pairs():
    assert share_above(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 1.0
    assert share_above(torch.tensor([1.0]), torch.tensor([1.0])) == 0.5
    assert share_above(torch.tensor([0.0, 2.0]), torch.tensor([1.0])) == 0.5


GENERATORS = [name for name in GAMES if not issubclass(families()[name], Translator)]


@pytest.mark.parametrize("name", GENERATORS)
def test_every_family_answers_and_nothing_is_left_behind(name):
    family = families()[name]
    model = family(**TINY | {"num_frames": 8})
    model.discriminator.train()
    before = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("discriminator")}
    drawn = torch.get_rng_state()
    memory = Memory(Data(), seed=1)
    values = memory.of(model)
    assert set(values) == {"val/d_train_above_held_out", "val/d_train_above_generated"}
    assert all(0 <= v <= 1 for v in values.values()) and values == memory.of(model)
    assert torch.equal(torch.get_rng_state(), drawn) and model.discriminator.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items() if k in before)


def test_a_discriminator_that_likes_brightness_knows_the_bright_clips():
    class Brightness(torch.nn.Module):
        def forward(self, clip, label=None):
            return clip.mean((1, 2, 3, 4))

    model = families()["DCGAN"](**TINY)
    model.discriminator = Brightness()
    values = Memory(Data(), seed=1).of(model)
    assert values["val/d_train_above_held_out"] == 1.0 and CLIPS == 32
