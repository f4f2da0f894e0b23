"""Strategies as configuration: stages, weights of terms, plateau, balance, ensembles; formulas and exact resume."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import TINY, Clips, child_environment, quiet_trainer
from lightning.pytorch import Callback

from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.dcgan import DCGAN
from vidiff.models.strategies import Balance, Balancer, Strategies
from vidiff.nn.ensemble import DiscriminatorEnsemble, GeneratorEnsemble
from vidiff.optim import Plateau, RateOnPlateau, Schedule
from vidiff.training.evaluation import EvaluationOptions
from vidiff.training.generator_evaluation import GeneratorEvaluation
from vidiff.training.run import Run

STAGES = [{"steps": 2, "players": ["d"]}, {"steps": 2, "weights": {"adv": 0.5}}, {"players": ["g"]}]
METRIC = {1: 5.0, 2: 4.0, 3: 4.5, 4: 4.0, 5: 3.0, 6: 3.5}


class History(Callback):
    """Evaluates, in name, after every step; keeps what was seen at each batch's end."""

    def __init__(self):
        self.rates, self.steps, self.terms, self.weights = [], [], [], []

    def on_train_batch_end(self, trainer, module, *_):
        self.rates.append([o.param_groups[0]["lr"] for o in module.optimizers()])
        self.terms.append({k: float(v) for k, v in module.terms.items()})
        self.weights.append([next(n.parameters()).detach().clone() for n in module.players.values()])
        if self.steps[-1:] != [trainer.global_step]:
            module.after_evaluation({"val/clip_distance": METRIC.get(trainer.global_step, 9.0)})
        self.steps.append(trainer.global_step)


def train(model, steps, data=None, ckpt=None):
    seen = History()
    trainer = quiet_trainer(max_steps=steps, callbacks=[seen])
    trainer.fit(model, data or Clips(), ckpt_path=ckpt, weights_only=True if ckpt else None)
    return trainer, seen


def test_stages_say_who_trains_and_every_turn_is_a_step():
    model = DCGAN(stages=STAGES, **TINY)
    _, seen = train(model, 6)
    assert seen.steps == [1, 2, 3, 4, 5, 6]
    start = [next(n.parameters()) for n in DCGAN(**TINY).players.values()]
    moved = [[not torch.equal(a, b) for a, b in zip(x, y)] for x, y in zip([start, *seen.weights], seen.weights)]
    assert moved == [[False, True], [False, True], [True, True], [True, True], [True, False], [True, False]]
    assert int(model.generator_ema.n_averaged) == 4
    shown = [("train/g_adv" in t, "train/d_real" in t) for t in seen.terms]
    assert shown == [(False, True)] * 2 + [(True, True)] * 2 + [(True, False)] * 2


def test_weights_multiply_terms():
    plain, weighted = DCGAN(**TINY), DCGAN(term_weights={"d_fake": 3.0, "adv": 0.25, "real": 2.0}, **TINY)
    staged = DCGAN(
        stages=[{"weights": {"d_fake": 3.0, "g_adv": 0.5, "d_real": 2.0}}], term_weights={"adv": 0.5}, **TINY
    )
    sgd = {p: (lambda x: torch.optim.SGD(x, lr=0.0)) for p in "gd"}  # still networks: later terms compare too
    for model in (plain, weighted, staged):
        model._factories = sgd
    (first, *_), (second, *_), (third, *_) = (train(m, 1)[1].terms for m in (plain, weighted, staged))
    assert second["train/d_fake"] == pytest.approx(3 * first["train/d_fake"], rel=1e-6)
    assert second["train/d_real"] == pytest.approx(2 * first["train/d_real"], rel=1e-6)
    assert second["train/g_adv"] == pytest.approx(0.25 * first["train/g_adv"], rel=1e-6)
    assert second["train/d_total"] == pytest.approx(second["train/d_real"] + second["train/d_fake"], rel=1e-6)
    assert second["train/g_grad_norm"] == pytest.approx(0.25 * first["train/g_grad_norm"], rel=1e-5)
    assert {k: third[k] for k in third if k[6] in "gd"} == {k: second[k] for k in second if k[6] in "gd"}


@pytest.mark.parametrize(
    "weights, named",
    [({"d_fakes": 1.0}, "d_fakes.*d_real, d_fake;"), ({"adversarial": 1.0}, "g_adv"), ({"g_real": 1.0}, "g_adv")],
)
def test_unknown_terms_are_named_at_the_first_step(weights, named):
    for settings in (dict(term_weights=weights), dict(stages=[{"weights": weights}])):
        with pytest.raises(UsageError, match=named):
            train(DCGAN(**settings, **TINY), 1)


@pytest.mark.parametrize(
    "settings, named",
    [
        (dict(stages=[{"players": ["d"]}, {}]), r"stages\[0\].steps must be a whole number"),
        (dict(stages=[{"step": 3}]), "no 'step'; accepted: steps, players, weights"),
        (dict(stages=[{"players": ["generator"]}]), "g, d or both"),
        (dict(stages=[{"players": "d"}]), "a list of g, d or both"),
        (dict(stages=[{"weights": {"adv": "half"}}]), "numbers by the names of terms"),
        (dict(plateau=Plateau(factor=2.0)), "0 < factor < 1"),
        (dict(balance=Balance(adapt="seed")), "lr_d, n_critic or g_steps"),
        (dict(balance=Balance(target=1.5)), "target in 0..1"),
        (dict(n_critic=9, balance=Balance("n_critic")), "the 9 that it starts from"),
    ],
)
def test_bad_settings_are_refused(settings, named):
    with pytest.raises(UsageError, match=named):
        DCGAN(**settings, **TINY)


def test_strategies_are_functions_of_the_step():
    """Without a model or a trainer."""
    stages = [{"steps": 2, "players": ["d"]}, {"steps": 3, "weights": {"adv": 0.5}}, {"players": ["g"]}]
    schedule = Schedule("linear", total_steps=10)
    strategies = Strategies(stages, {"d_fake": 3.0}, Plateau(patience=1), Balance(), schedule, n_critic=2)
    assert [strategies.stage(k) for k in range(7)] == [stages[0]] * 2 + [stages[1]] * 3 + [stages[2]] * 2
    trains = [[p for p in "gd" if strategies.trains(p, k)] for k in (0, 2, 5)]
    assert trains == [["d"], ["g", "d"], ["g"]]
    one = torch.tensor(1.0)
    assert strategies.weighted("d", {"real": one, "fake": one}, 0) == {"real": 1.0, "fake": 3.0}
    assert [strategies.weighted("g", {"adv": one}, k)["adv"] for k in (0, 4, 5)] == [1.0, 0.5, 1.0]
    for value in (1.0, 2.0):
        strategies.after_evaluation({"val/clip_distance": value})
    strategies.balancer.value = 0.25
    assert [strategies.rate_factor(p, 5) for p in "gd"] == [pytest.approx(0.25), pytest.approx(0.0625)]
    assert (strategies.n_critic, strategies.g_steps, schedule.total_steps) == (2, 1, 10)
    other = Strategies(stages, {"d_fake": 3.0}, Plateau(patience=1), Balance(), schedule)
    other.load_state_dict(strategies.state_dict())
    assert other.rate_factor("d", 5) == strategies.rate_factor("d", 5)
    assert Strategies().state_dict() == {} and Strategies().trains("g", 10**9)


def test_a_balance_of_updates_is_what_they_are():
    strategies = Strategies(balance=Balance("g_steps", target=0.7, tolerance=0.1, interval=1), n_critic=3)
    assert (strategies.n_critic, strategies.g_steps) == (3, 1)
    strategies.balancer.update(torch.tensor(1.0))
    assert (strategies.n_critic, strategies.g_steps) == (3, 2)


def test_terms_can_be_declared_before_there_are_any():
    strategies = Strategies(term_weights={"g_late": 2.0})
    strategies.declare_terms("g", ["early", "late"])
    assert strategies.weighted("g", {"early": torch.tensor(1.0)}, 0) == {"early": 1.0}
    with pytest.raises(UsageError, match="no term 'g_late'. The terms are g_early;"):
        Strategies(term_weights={"g_late": 2.0}).declare_terms("g", ["early"])


def test_plateau_by_hand():
    rate = RateOnPlateau(Plateau(factor=0.5, patience=2, min_factor=0.2))
    seen = []
    for value in (5.0, 6.0, 5.0, 4.0, 4.5, 4.2, 4.1, float("nan"), 4.0, 9.0):
        rate.update(value)
        seen.append(rate.value)
    assert seen == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]


def test_plateau_reaches_both_rates():
    model = DCGAN(plateau=Plateau(patience=2), **TINY)
    _, seen = train(model, 6)  # 5, 4, 4.5, 4: the second best in vain at step 4
    assert [r[0] for r in seen.rates] == [r[1] for r in seen.rates] == [2e-4] * 4 + [1e-4] * 2
    with pytest.raises(UsageError, match="val/other.*val/motion"):
        DCGAN(plateau=Plateau("val/other"), **TINY).after_evaluation({"val/motion": 1.0})


def test_regular_evaluations_reach_the_model(tmp_path):
    """Those of an interruption do not: a resumed run must not know more than an uninterrupted one."""
    noted = []
    best = SimpleNamespace(offer=lambda *_: None)
    evaluation = GeneratorEvaluation(Run(tmp_path), EvaluationOptions(every_n_steps=2), best, None)
    evaluation.score = evaluation.evaluate = lambda *_: {"val/clip_distance": 1.0}
    for step in (2, 3, 4):
        evaluation._evaluate_and_offer(
            SimpleNamespace(global_step=step), SimpleNamespace(after_evaluation=noted.append)
        )
    assert noted == [{"val/clip_distance": 1.0}] * 2


@pytest.mark.parametrize(
    "adapt, start, strong, weak, level",
    [("lr_d", 1.0, [0.5, 0.25, 0.25], [2.0, 4.0, 4.0], 1.0), ("n_critic", 3, [2, 1, 1], [4, 4, 4], 3),
     ("g_steps", 2, [3, 4, 4], [1, 1, 1], 2)],
)  # fmt: skip
def test_balance_by_hand(adapt, start, strong, weak, level):
    for separation, expected in ((1.0, strong), (0.4, weak), (0.75, [level] * 3)):
        balancer, seen = Balancer(Balance(adapt, 0.7, 0.1, interval=2, step=2.0, limit=4), start), []
        for _ in range(3):
            for s in (separation - 0.1, separation + 0.1):
                balancer.update(torch.tensor(s))
            seen.append(balancer.value)
        assert seen == expected


def test_balance_moves_what_it_is_for():
    def run(**settings):
        return train(
            DCGAN(balance=Balance(target=0.99, tolerance=0.0, interval=1, step=2.0, limit=64.0, **settings), **TINY), 4
        )

    def factors(seen):
        return [t["train/lr_d"] / 2e-4 for t in seen.terms]

    _, seen = run()
    decided = [t["train/balance_lr_d"] for t in seen.terms]
    below = [t["train/d_separation"] < 0.99 for t in seen.terms]
    assert decided == [pytest.approx(d * (2.0 if b else 0.5)) for d, b in zip([1.0, *decided], below)]
    assert factors(seen) == pytest.approx([1.0, *decided[:-1]])
    assert all(t["train/lr_g"] == pytest.approx(2e-4) for t in seen.terms if "train/lr_g" in t)
    model = DCGAN(balance=Balance("n_critic", 0.01, 0.0, interval=1), n_critic=4, **TINY)
    _, seen = train(model, 3)  # D is always better than that: 3, 2, then 1 update a step
    assert model.strategies.n_critic == 1 and seen.steps == [0, 1, 2, 3]


SETTINGS = {
    "stages": dict(stages=[{"steps": 2, "weights": {"adv": 0.5}}, {"steps": 2, "players": ["d"]}, {}]),
    "weights": dict(term_weights={"d_fake": 0.5}),
    "plateau": dict(plateau=Plateau(patience=1)),
    "lr_d": dict(balance=Balance(target=0.5, tolerance=0.01, interval=2)),
    "n_critic": dict(balance=Balance("n_critic", target=0.97, tolerance=0.0, interval=2), n_critic=2),
    "g_steps": dict(balance=Balance("g_steps", target=0.5, tolerance=0.01, interval=2)),
    "ensembles": dict(
        generator=lambda spec: GeneratorEnsemble(spec), discriminator=lambda spec: DiscriminatorEnsemble(spec, count=2)
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_resume_is_exact(tmp_path, name):
    """Interrupted after three steps and continued: the same terms at every step, the same weights at the end."""
    straight = DCGAN(**SETTINGS[name], **TINY)
    _, whole = train(straight, 6)
    first = DCGAN(**SETTINGS[name], **TINY)
    trainer, before = train(first, 3)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    seen = first.batches_seen

    class Rest(Clips):
        def batch(self, index, rank=0, world=1):
            return super().batch(index + seen, rank, world)

    second = DCGAN(**SETTINGS[name], **TINY)
    _, after = train(second, 6, Rest(), tmp_path / "a.ckpt")
    # What the turn of a batch before left behind is not known to a resumed run, and is not logged either.
    moving = [i for i, s in enumerate(whole.steps) if s != [0, *whole.steps][i]]
    both = before.terms + after.terms
    assert [whole.terms[i] for i in moving] == [both[i] for i in moving]
    assert whole.steps == before.steps + after.steps and whole.rates == before.rates + after.rates
    for (key, a), b in zip(straight.state_dict().items(), second.state_dict().values()):
        assert torch.equal(a, b), key
    if name != "ensembles":  # networks made in Python are asked for again
        assert torch.equal(load_model(tmp_path / "a.ckpt").sample(2), first.sample(2))


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    """Everything at once: the balance decides on the global batch, stages and plateau are the same."""

    def run(world):
        worker = Path(__file__).parent / "strategies_worker.py"
        command = [sys.executable, str(worker), str(tmp_path / f"{world}"), "--world", str(world)]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return [torch.load(tmp_path / f"{world}.{r}", weights_only=True) for r in range(world)]

    (one,), (first, second) = run(1), run(2)
    assert one["strategies"] == first["strategies"] == second["strategies"]
    assert one["strategies"]["balance"]["value"] != 1.0 and one["strategies"]["plateau"]["value"] == 0.5
    for key, value in one["state"].items():
        assert torch.equal(first["state"][key], second["state"][key]), key
        torch.testing.assert_close(first["state"][key], value, rtol=0, atol=1e-12)
