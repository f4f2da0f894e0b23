"""Augmentation in front of the discriminator, in training: keys, who sees it, ADA's walk, state, processes."""

from __future__ import annotations

import pytest
import torch
from helpers import GAMES, TINY, Anything, Clips, quiet_trainer

from vidiff.augment import AdaptiveAugment, DiffAugment
from vidiff.models import families
from vidiff.models.dcgan import DCGAN
from vidiff.models.stargan import StarGAN


class Spy(DiffAugment):
    """Notes the keys it is called with."""

    def __init__(self):
        super().__init__("translation")
        self.keys = []

    def forward(self, clip, key, offset=0, total=None):
        self.keys.append(key)
        assert clip.ndim == 5 and offset == 0 and total == len(clip)
        return super().forward(clip, key, offset, total)


def train(model, steps=3, **settings):
    trainer = quiet_trainer(max_steps=steps, **settings)
    trainer.fit(model, Clips())
    return trainer


@pytest.mark.parametrize("family, calls", [("DCGAN", 3), ("MoCoGAN", 6), ("R3GAN", 4), ("MultiPeriodGAN", 9)])
def test_every_call_of_an_update_has_parameters_of_its_own(family, calls):
    spy = Spy()
    sizes = {**TINY, "num_frames": 8}
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(families()[family](discriminator_augment=spy, **sizes), Clips(num_frames=8))
    assert len(set(spy.keys)) == len(spy.keys) == 2 * calls


def validated(model, batch):
    """The value of a validation step."""
    logged = {}
    model.log = lambda name, value, **_: logged.update({name: value})
    model.validation_step(batch, 0)
    return logged["val/d_real_logit"]


def test_only_training_is_augmented():
    model = DCGAN(discriminator_augment=DiffAugment(), **TINY)
    batch = Clips().batch(0)
    plain = DCGAN(**TINY).eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(validated(model.eval(), batch), validated(plain, batch))


def test_it_changes_training_and_leaves_the_samples_sizes_alone():
    a, b = DCGAN(**TINY), DCGAN(discriminator_augment=DiffAugment(), **TINY)
    for model in (a, b):
        train(model)
    assert not torch.equal(
        a.discriminator.state_dict()["layers.0.weight"], b.discriminator.state_dict()["layers.0.weight"]
    )
    assert a.sample(2).shape == b.sample(2).shape


def test_ada_aims_at_the_middle_of_the_targets_in_either_game_of_stargan():
    assert StarGAN(game="least_squares", num_classes=2, **TINY).real_above == 0.5
    assert StarGAN(game="wasserstein", num_classes=2, **TINY).real_above is None


@pytest.mark.parametrize("family", GAMES)
def test_ada_counts_clips_once_an_update(family):
    """A batch of 4 is 4 clips, however many logits a clip has and however many judges and periods look at it."""
    ada = AdaptiveAugment(interval=1000, clips=10**6)
    sizes = TINY | {"num_frames": 8, "num_classes": 2}
    model = families()[family](discriminator_augment=ada, **sizes)
    quiet_trainer(max_steps=1).fit(model, Anything(num_frames=8, num_classes=2))
    assert model.batches_seen == model.strategies.n_critic
    assert ada.sums[2:].tolist() == [4.0 * model.batches_seen, model.batches_seen]  # clips, calls


def test_ada_resumes_exactly(tmp_path):
    def model():
        return DCGAN(discriminator_augment=AdaptiveAugment(interval=2, clips=50, start=0.3), **TINY)

    class From(Clips):
        first = 0

        def train_dataloader(self):
            return _Rest(self, self.first)

    class _Rest:
        def __init__(self, data, first):
            self.data, self.first = data, first

        def __len__(self):
            return 1000

        def __iter__(self):
            return (self.data.batch(i) for i in range(self.first, 1000))

    straight, half, rest = model(), model(), model()
    quiet_trainer(max_steps=7).fit(straight, From())
    trainer = quiet_trainer(max_steps=3)
    trainer.fit(half, From())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    data = From()
    data.first = 3
    quiet_trainer(max_steps=7).fit(rest, data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    a, b = straight.state_dict(), rest.state_dict()
    assert a["discriminator_augment.p"] != 0.3 and float(a["discriminator_augment.sums"][3]) == 1.0  # in mid-interval
    assert all(torch.equal(a[k], b[k]) for k in a)
