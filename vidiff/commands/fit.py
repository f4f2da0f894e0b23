"""Train a model, or measure a checkpoint: `fit`, `validate` and `test`, whose settings Lightning's CLI parses."""

from __future__ import annotations

HELP = """\
usage: vidiff {verb} --config FILE [--config FILE ...] [--SETTING VALUE ...]

{about} A file that is not here is one of the shipped experiments (`vidiff list`). Later files and flags
win over earlier ones; a file whose name starts with _ only adds to an experiment. A size is set on the data, and the
model follows it.

  --config FILE                    settings, as experiments/dcgan.yaml has them; repeat for overlays
  --run_dir DIR                    folder of the run (default runs/<experiment>/<time>)
  --ckpt_path FILE                 {ckpt}
  --data.root DIR                  your folder of videos (default: the embedded set); `vidiff data check DIR`
  --data.resolution N              height and width of a clip; --data.num_frames, --data.batch_size, --data.augment
  --model.width N                  base channels of the networks
  --trainer.max_steps N            generator updates; --trainer.devices, --trainer.accelerator, --trainer.precision
  --evaluation.every_n_steps N     generator updates between two evaluations; --evaluation.metrics
  --checkpoints.every_n_steps N    generator updates between two checkpoints
  --seed_everything N              of weights, noise, order of the clips and augmentation
  --budget_cpu_s X                 stop after that many CPU seconds
  --logger csv|wandb|tensorboard   dashboards beside metrics.csv

  vidiff list FAMILY               every setting of a model; `vidiff list data`, `vidiff list evaluation`
  --model.help FAMILY              the same with types; `--data.help ClipDataModule`
  --help all                       every setting of the verb, Lightning's Trainer included
  --print_config                   behind all others: print the whole configuration, and stop

First run: vidiff fit --config experiments/dcgan.yaml --config experiments/_tiny.yaml"""
ABOUT = {
    "fit": ("Train a model.", "continue from a checkpoint; `last` continues the newest run of the experiment"),
    "validate": ("Measure a checkpoint on the validation split.", "the checkpoint; give the run's config.yaml"),
    "test": ("Measure a checkpoint on the test split.", "the checkpoint; give the run's config.yaml"),
}


def run_training(verb: str, words: list[str]) -> int:
    """Run `fit`, `validate` or `test` with the words behind it."""
    if words in (["-h"], ["--help"]):
        about, ckpt = ABOUT[verb]
        print(HELP.format(verb=verb, about=about, ckpt=ckpt))
        return 0
    from vidiff.training.cli import TrainingCLI

    TrainingCLI(verb, ["--help"] if words in (["-h", "all"], ["--help", "all"]) else words)
    return 0
