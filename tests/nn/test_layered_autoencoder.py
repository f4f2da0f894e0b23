"""Layers of a clip: what is placed goes where it is said, latents come back, objects are found without labels."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from helpers import Says
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.layered_autoencoder import FAR, JUMP, LayeredAutoencoder, followed, kept, waves

SPEC = ClipSpec(num_frames=5, resolution=32, width=8)


@pytest.mark.parametrize("resolution, frames, objects", [(16, 1, 1), (32, 5, 2), (64, 4, 4)])
def test_sizes(resolution, frames, objects):
    spec = ClipSpec(num_frames=frames, resolution=resolution, width=8)
    network = LayeredAutoencoder(spec, objects=objects)
    clip = torch.rand(2, 3, frames, resolution, resolution) * 2 - 1
    latents = network.encode(clip)
    assert latents.shape == (2, *network.latent_shape(frames, resolution, resolution))
    like = network.latent_spec(spec)
    assert latents.shape[1:] == (like.channels, like.num_frames, like.resolution, like.resolution)
    assert network.decode(latents).shape == clip.shape
    torch.testing.assert_close(network(clip), network.decode(latents), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("resolution, objects", [(24, 2), (32, 3), (32, 0)])
def test_what_cannot_be(resolution, objects):
    with pytest.raises(ValueError, match=f"a multiple of 16, got {objects} and {resolution}"):
        LayeredAutoencoder(ClipSpec(resolution=resolution), objects=objects)


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_waves_are_orthogonal_and_a_path_keeps_its_size(count):
    rows = waves(count)
    torch.testing.assert_close(rows @ rows.T * count, torch.eye(count), atol=1e-6, rtol=0)
    still = rows @ torch.full((count, 1), 0.7)
    assert still[0].item() == pytest.approx(0.7) and still[1:].abs().sum() < 1e-5


def test_a_clip_is_encoded_by_itself_and_a_frame_by_what_it_shows():
    network, clips = LayeredAutoencoder(SPEC).eval(), torch.rand(3, 3, 5, 32, 32) * 2 - 1
    together = network.encode(clips)
    for i in range(3):
        torch.testing.assert_close(network.encode(clips[i : i + 1]), together[i : i + 1], atol=1e-5, rtol=1e-4)
    back = network.encode(clips.flip(2))  # the other way round in time: every other wave changes its sign
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])[:, None, None]
    torch.testing.assert_close(back[:, :, :5], sign * together[:, :, :5], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(back[:, :, 5:9], together[:, :, 5:9], atol=1e-5, rtol=1e-4)  # the same objects


def test_objects_and_background_are_of_mean_square_one_and_paths_bear_no_noise():
    network = LayeredAutoencoder(SPEC)
    clip = torch.rand(2, 3, 5, 32, 32) * 2 - 1
    latents = network.encode(clip)[..., 0, 0]
    looks, ground = latents[:, :, 5:9].unflatten(2, (2, 2)), latents[:, :, 9:]  # (B, 12, N, LOOKS), (B, 12, 16)
    for numbers, over in ((looks, (1, 3)), (ground, 1)):
        square = numbers.square().mean(over)
        torch.testing.assert_close(square, torch.ones_like(square), rtol=1e-2, atol=0)
    share = network.borne(latents[..., None, None])[..., 0, 0]
    assert share[:, :, 5:].eq(1).all() and not share[:, :, :5].any()
    noise = torch.randn_like(latents)[..., None, None]
    torch.testing.assert_close(
        network(clip, noise=noise), network.decode(latents[..., None, None] + noise * share[..., None, None])
    )


@pytest.mark.parametrize("frames, waves_kept", [(1, 1), (8, 8), (11, 8), (16, 8), (40, 20)])
def test_long_clips_lose_what_is_shorter_than_four_frames(frames, waves_kept):
    network = LayeredAutoencoder(ClipSpec(num_frames=frames, resolution=16, width=8), objects=1)
    clip = torch.rand(1, 3, frames, 16, 16) * 2 - 1
    latents = network.encode(clip)
    assert kept(frames) == waves_kept and latents.shape[2] == waves_kept + network.others
    assert network.decode(latents).shape == clip.shape  # its own length needs no word
    if frames > 8:
        assert network.decode(latents, frames + 1).shape[2] == frames + 1


def test_a_slow_path_comes_back_from_eight_waves():
    t = torch.arange(16)
    for path, least in ((torch.cos(2 * math.pi * t / 18), 0.02), ((t / 8 - 1).abs(), 0.03)):
        back = 16 * waves(16)[:8].T @ (waves(16)[:8] @ path)
        assert (back - path).square().mean().sqrt() < least


def test_the_way_that_is_followed_is_the_best_of_all():
    torch.manual_seed(0)
    heat = 3 * torch.randn(3, 4, 3, 3)
    axis, cells = (torch.arange(3) + 0.5) * 2 / 3 - 1, list(itertools.product(range(3), repeat=2))
    for logits, found in zip(heat, followed(heat)):

        def worth(way, logits=logits):
            gone = sum((axis[a] - axis[b]) ** 2 for p, q in zip(way, way[1:]) for a, b in zip(p, q))
            return float(sum(logits[t, y, x] for t, (y, x) in enumerate(way)) - JUMP * gone)

        best = max(itertools.product(cells, repeat=4), key=worth)
        torch.testing.assert_close(found, torch.stack([torch.stack([axis[x], axis[y]]) for y, x in best]))


def test_two_that_look_alike_keep_their_ways():
    """Equal squares pass above each other: no path jumps, and no place is between both."""
    clip = torch.zeros(1, 3, 8, 32, 32)
    for t in range(8):
        clip[0, 0, t, 5:11, 2 + 3 * t : 8 + 3 * t] = 1.0  # to the right
        clip[0, 0, t, 21:27, 23 - 3 * t : 29 - 3 * t] = 1.0  # to the left
    where, _ = LayeredAutoencoder(ClipSpec(num_frames=8, resolution=32, width=8))._found(clip[0].transpose(0, 1), 8)
    for path in where.view(8, 2, 2).unbind(1):
        assert path[:, 1].std() < 0.1 and path.diff(dim=0).norm(dim=1).max() < 0.35
        assert (path[:, 1].mean().abs() - 0.5).abs() < 0.1


@pytest.mark.parametrize("degrees", [0, 90, 200])
def test_an_object_is_drawn_where_its_token_says(degrees):
    """A picture with a bright right half, placed: its area, middle and the side that is bright."""
    network = LayeredAutoencoder(SPEC, objects=1)
    network.window.fill_(1.0)
    picture = torch.full((1, 4, 16, 16), 20.0)
    picture[:, :3, :, :8] = -20.0
    network.draw, network.hill = Says(picture), torch.zeros(())
    angle, size = math.radians(degrees), -1.0
    path = torch.tensor([[0.3 * FAR, -0.2 * FAR, size, size, math.cos(angle), math.sin(angle)]])
    drawn = network._placed(path, network._pictures(torch.zeros(1, 12)))[0].detach()  # (C + 1, H, W)
    axis = (torch.arange(32) + 0.5) / 16 - 1
    mask, bright = drawn[3], (drawn[0] > 0).float()
    half = 0.42 * math.exp(1.8 / FAR * size)
    assert mask.sum().item() / 256 == pytest.approx((2 * half) ** 2, rel=0.05)
    middle = torch.stack([(mask.sum(0) * axis).sum(), (mask.sum(1) * axis).sum()]) / mask.sum()
    assert torch.allclose(middle, torch.tensor([0.3, -0.2]), atol=0.02)
    side = torch.stack([(bright.sum(0) * axis).sum(), (bright.sum(1) * axis).sum()]) / bright.sum() - middle
    assert torch.allclose(side, half / 2 * torch.tensor([math.cos(angle), math.sin(angle)]), atol=0.04)


def test_an_object_that_is_not_drawn_has_no_path_and_the_picture_is_the_same():
    network, clip = LayeredAutoencoder(SPEC).eval(), torch.rand(2, 3, 5, 32, 32) * 2 - 1
    pictures = network._pictures
    for drawn in ([1.0, 1.0], [1.0, 0.02], [0.0, 0.0]):
        network._pictures = lambda looks, drawn=drawn: pictures(looks) * torch.tensor(drawn * 2)[:, None, None, None]
        with torch.no_grad():
            before, latents = network._encoded(clip), network.encode(clip)
            torch.testing.assert_close(network.decode(latents), network.decode(before), atol=0.04, rtol=0)
        assert torch.equal(latents[:, :, 5:], before[:, :, 5:])
        for i, there in enumerate(drawn):
            each = slice(6 * i, 6 * i + 6)
            assert torch.equal(latents[:, each, :5], before[:, each, :5] * (there == 1)) and before[:, each].any()


def test_a_new_network_looks_at_what_is_unlike_the_usual_color_and_at_another_thing_next():
    clip = torch.zeros(1, 3, 4, 32, 32)
    for t in range(4):
        clip[0, 0, t, 6:12, 4 + 4 * t : 10 + 4 * t] = 1.0  # moves to the right
        clip[0, 1, t, 22:26, 22:26] = 0.9  # stands still, smaller
    where, _ = LayeredAutoencoder(SPEC)._found(clip.transpose(1, 2).flatten(0, 1), 4)
    first, second = where.view(4, 2, 2).unbind(1)
    expected = torch.stack([(7 + 4 * torch.arange(4)) / 16 - 1, torch.full((4,), 9 / 16 - 1)], 1)
    assert (first - expected).norm(dim=1).max() < 0.2
    assert (second - torch.tensor([0.5, 0.5])).norm(dim=1).max() < 0.2


@pytest.mark.slow
def test_it_learns_to_tell_a_ball_from_its_ground():
    """Balls on grounds of one color, 800 steps: pictures come back, and the object's token is where the ball is."""
    torch.manual_seed(0)
    network = LayeredAutoencoder(ClipSpec(num_frames=4, resolution=32, width=8), objects=1)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    axis = (torch.arange(32) + 0.5) / 16 - 1

    def balls(count):
        start, way = torch.rand(count, 2) - 0.5, 0.2 * torch.rand(count, 2) - 0.1
        at = start[:, None] + way[:, None] * torch.arange(4)[:, None]  # (B, T, 2)
        distance = ((axis - at[..., :1, None]) ** 2 + (axis[:, None] - at[..., 1:, None]) ** 2).sqrt()
        mask = torch.sigmoid(30 * (0.25 - distance))[:, None]  # (B, 1, T, H, W)
        color = 0.9 * (torch.randint(2, (count, 3, 1, 1, 1)) * 2.0 - 1)
        ground = torch.rand(count, 3, 1, 1, 1) * 0.4 - 0.2
        return mask * color + (1 - mask) * ground, at

    for _ in range(800):
        clip, _ = balls(8)
        loss = (network(clip) - clip).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
    clip, at = balls(32)
    with torch.no_grad():
        latents = network._encoded(clip)  # where the ground draws a ball its own mask is empty
        flat = (clip - clip.mean((2, 3, 4), keepdim=True)).square().mean()
        assert (network.decode(latents) - clip).square().mean() < 0.4 * flat
    strength = (1 + torch.arange(4)[:, None] / 3) ** 1.5
    found = 4 * waves(4).T @ (latents[:, :2, :4, 0, 0].transpose(1, 2) / strength) / FAR
    assert (found - at).norm(dim=2).median() < 0.15
