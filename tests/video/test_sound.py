"""Pieces of sound: as many samples as they last, the right ones, mixed by the formula; faster ones in step."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vidiff.video.sound import edited
from vidiff.video.timeline import Piece

RATE = 8000


def through(wave: np.ndarray, pieces: list[Piece], rate: int = RATE, block: int = 333) -> np.ndarray:
    blocks = (wave[None, at : at + block].astype(np.float32) for at in range(0, len(wave), block))
    return np.concatenate(list(edited(blocks, pieces, rate, "mono", 1)), axis=1)[0]


def piece(start, end, at, lasts=None, fade=0) -> Piece:
    values = [start, end, at, end - start if lasts is None else lasts, fade]
    return Piece(*(Fraction(v).limit_denominator(10**6) for v in values))


@pytest.mark.parametrize("block", [1, 333, 100_000])
def test_pieces_are_cut_at_their_sample(block):
    wave = np.arange(2 * RATE) / 2**15
    out = through(
        wave[: RATE // 50 if block == 1 else None], [piece(0, 0.005, 0), piece(0.01, 0.02, 0.005)], block=block
    )
    assert np.array_equal(out, np.concatenate([wave[:40], wave[80:160]]).astype(np.float32))


@pytest.mark.parametrize("block", [7, 333, 100_000])
def test_a_cross_fade_is_its_formula(block):
    wave = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    out = through(wave, [piece(0, 1, 0), piece(1, 2, 0.75, fade=0.25), piece(2, 3, 1.5, fade=0.25)], block=block)
    n, f = RATE, RATE // 4
    weight = (np.arange(f) + 0.5) / f
    expected = wave[:n].astype(float)
    for part in (wave[n : 2 * n], wave[2 * n :]):
        mix = (1 - weight) * expected[-f:] + weight * part[:f]
        expected = np.concatenate([expected[:-f], mix, part[f:]])
    assert len(out) == len(expected) == 2.5 * n and np.abs(out - expected).max() < 1e-6


def test_what_the_source_lacks_is_silence():
    out = through(np.ones(RATE // 2), [piece(0, 1, 0), piece(1, 2, 1, lasts=0.5)])
    assert len(out) == 1.5 * RATE and out[: RATE // 2].all() and not out[RATE // 2 :].any()


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("tempo", [0.5, 0.7, 1.5, 2.0, 3.7, 8.0])
def test_faster_sound_keeps_its_length_its_pitch_and_its_place(tempo, rate):
    """A click every second is heard within 25 ms of where its picture is, and a tone is the tone that it was."""
    lasts = Fraction(4) / Fraction(str(tempo))
    pieces = [piece(0, 0.25, 0), Piece(Fraction(1, 4), Fraction(17, 4), Fraction(1, 4), lasts)]
    wave = np.zeros(round(4.5 * rate))
    marks = [0.75, 1.75, 2.75, 3.75]
    for mark in marks:
        length = round(max(1, tempo) * rate / 50)  # what is shorter may be passed over
        wave[round(mark * rate) :][:length] = np.sin(np.arange(length) / 2)
    out = through(wave, pieces, rate, 1024)
    assert len(out) == pytest.approx(float(rate * (lasts + Fraction(1, 4))), abs=1)
    loud = np.flatnonzero(np.abs(out) > 0.3) / rate
    begins = np.array([b for a, b in zip([-1.0, *loud], loud) if b - a > 0.3 / tempo])
    assert begins == pytest.approx([0.25 + (mark - 0.25) / tempo for mark in marks], abs=0.025)
    tone = through(np.sin(2 * np.pi * 440 * np.arange(round(4.5 * rate)) / rate), pieces, rate, 1024)
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert np.argmax(spectrum) * rate / len(tone) == pytest.approx(440, rel=0.01)
    assert 0.6 < np.sqrt(np.mean(tone[rate // 4 : -rate // 16] ** 2)) < 0.75
