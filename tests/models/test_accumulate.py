"""`accumulate`: a batch in parts, one after the other, is the step of the batch, or it is refused."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from exact import CLIPS, LOOSER, SIZES, STEPS, TOLERANCE, Pairs, apart, model_of
from helpers import GAMES, TINY, Clips, quiet_trainer

from vidiff.errors import UsageError
from vidiff.models.dcgan import DCGAN
from vidiff.models.pggan import PGGAN
from vidiff.models.strategies import Balance
from vidiff.models.turn import Turn
from vidiff.nn.blocks import add_spectral_norm
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.resnet import ResnetGenerator


def layer_norm(spec):
    return ConvGenerator(spec, norm="layer")


def spectral(spec):
    return ConvDiscriminator(spec, norm="none", spectral=True)


def several_moves():
    return dict(n_critic=2, g_steps=2, balance=Balance(target=0.3, tolerance=0.05, interval=2))


def few_blocks(spec):
    return ResnetGenerator(spec, blocks=1, conv="factorized")


CASES = {  # family, parts, what it is built with
    "DCGAN": ("DCGAN", 4, lambda: dict(generator=layer_norm, discriminator=spectral, **several_moves())),
    "WGANGP": ("WGANGP", 2, lambda: dict(generator=layer_norm, n_critic=2)),
    "LossSensitiveGAN": ("LossSensitiveGAN", 2, lambda: dict(generator=layer_norm)),
    "R3GAN": ("R3GAN", 4, dict),
    "R3GAN, approximate": ("R3GAN", 2, lambda: dict(penalty="approximate", r1_gamma=0.1, r1_gamma_final=0.1)),
    "PGGAN": ("PGGAN", 2, dict),  # groups of 4 clips
    "CycleGAN": ("CycleGAN", 2, lambda: dict(generator=few_blocks, clip_grad_norm=1.0)),
    "Restoration": ("Restoration", 2, lambda: dict(feature_weight=0.0)),
    "Autoencoder": ("Autoencoder", 2, lambda: dict(adaptive=False)),
    "AdversarialFlow": ("AdversarialFlow", 2, dict),
    "FlowMatching": ("FlowMatching", 8, dict),
}


def trained(family, parts, options):
    """The state before and after a training, what was logged last, and the most clips that a generator was given."""
    model = model_of(family, accumulate=parts, **options)
    before, seen = {name: x.clone() for name, x in model.state_dict().items()}, []

    def look(layer, args):
        if torch.is_grad_enabled():
            seen.append(len(args[0]))

    for network in model.generator.values() if isinstance(model.generator, torch.nn.ModuleDict) else [model.generator]:
        for layer in (m for m in network.modules() if isinstance(m, torch.nn.Conv3d | torch.nn.ConvTranspose3d)):
            layer.register_forward_pre_hook(look)
    data = Pairs(CLIPS, num_classes=2, num_frames=SIZES["num_frames"])
    quiet_trainer(max_steps=STEPS, precision="64-true").fit(model, data)
    return before, model.state_dict(), model.terms, max(seen)


@pytest.mark.parametrize("case", CASES)
def test_parts_of_a_batch_make_its_step(case):
    family, parts, options = CASES[case]
    start, whole, logged, most = trained(family, 1, options())
    _, in_parts, logged_in_parts, fewer = trained(family, parts, options())
    assert fewer * parts == most
    assert max(apart(whole, in_parts).values()) < LOOSER.get(family, TOLERANCE)
    assert apart(start, in_parts)["weights"] > 1e-4
    assert apart(start, in_parts)["buffers"] > 0 or family not in GAMES  # ADA's
    assert logged.keys() == logged_in_parts.keys()
    for name, value in logged.items():
        torch.testing.assert_close(
            logged_in_parts[name], value, rtol=1e-6, atol=1e-9, msg=lambda t, n=name: f"{n}: {t}"
        )


def refused(model, clips=CLIPS):
    with pytest.raises(UsageError) as caught:
        quiet_trainer(max_steps=1).fit(model, Pairs(clips, num_classes=2, num_frames=4))
    return str(caught.value)


def test_what_would_be_another_step_is_refused():
    sizes = TINY | {"num_classes": 2}
    assert "generator has BatchNorm" in refused(DCGAN(accumulate=2, **sizes))
    assert "discriminator has BatchNorm" in refused(DCGAN(accumulate=2, generator=layer_norm, **sizes))
    assert "model.accumulate 3 has to divide the batch of 8 clips" in refused(PGGAN(accumulate=3, **sizes))
    assert "multiple of 4, not 2" in refused(PGGAN(accumulate=4, **sizes))
    assert "set model.feature_weight 0" in refused(model_of("Restoration", accumulate=2).float())
    adaptive = model_of("Autoencoder", accumulate=2, feature_weight=0.1).float()
    assert "set model.feature_weight 0 and model.adaptive false" in refused(adaptive)

    def normed(spec):
        add_spectral_norm(network := layer_norm(spec))
        return network

    assert "spectral norm in the generator" in refused(
        DCGAN(accumulate=2, generator=normed, discriminator=spectral, **sizes)
    )
    with pytest.raises(UsageError, match="model.accumulate must be at least 1, got 0"):
        DCGAN(accumulate=0, **sizes)


def test_a_part_has_what_the_batch_has_for_its_clips():
    model, batch = DCGAN(accumulate=4, generator=layer_norm, discriminator=spectral, **TINY), Clips(8).batch(3)
    turn = Turn(model, "d", batch)
    turn.keep_fake()
    parts = turn.parts
    assert [p.slots for p in parts] == [[24, 25], [26, 27], [28, 29], [30, 31]] and [p.rows.start for p in parts] == [
        0,
        2,
        4,
        6,
    ]
    assert (
        torch.equal(torch.cat([p.real for p in parts]), batch["clip"]) and parts[1].whole is turn and turn.whole is turn
    )
    assert torch.equal(torch.cat([p.uniform("mix") for p in parts]), turn.uniform("mix"))
    after = Turn(model, "g", batch, 0, turn).parts
    assert torch.equal(after[2].latents(), turn.latents()[4:6])  # what D has judged is improved
    assert after[2].fake().requires_grad and not parts[2].fake().requires_grad
    assert torch.equal(after[2].fake(), parts[2].fake())
    calls = []
    assert [p.once(calls.append) for p in parts] == [None] * 4 and calls == [turn]
    for number, part in enumerate(parts):
        part.note(share=torch.tensor(float(number)))
    turn.join()
    assert float(turn.notes["share"]) == 1.5


@pytest.mark.parametrize("parts", [1, 2])
def test_a_turn_that_is_over_is_gone_without_the_garbage_collector(parts):
    model = DCGAN(accumulate=parts, generator=layer_norm, discriminator=spectral, **TINY)
    turn = Turn(model, "d", Clips(4).batch(0))
    after = Turn(model, "g", turn.batch, 0, turn)
    made = [weakref.ref(x) for x in (turn, after, turn.parts[0], after.parts[-1])]
    gc.disable()
    try:
        del turn, after
        assert [x() for x in made] == [None] * 4
    finally:
        gc.enable()
