"""Settings that nobody would write: a configuration is parsed, or refused in one line, whatever it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import yaml

from vidiff.command_line import call
from vidiff.configs import read_config
from vidiff.errors import UsageError
from vidiff.training.cli import resolved_config

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

SETTINGS = dict(derandomize=True, database=None, deadline=None)
NAMES = (
    "model", "data", "trainer", "evaluation", "checkpoints", "class_path", "init_args", "generator", "optimizer_g",
    "lr", "lr_schedule", "width", "num_frames", "resolution", "max_steps", "devices", "callbacks", "stages", "augment",
    "every_n_steps", "metrics", "seed_everything", "run_dir", "logger", "budget_clips", "root", "num_workers", "fit",
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**65), st.floats(), st.text(max_size=12), st.sampled_from(NAMES),
    st.sampled_from(["DCGAN", "ClipDataModule", "auto", "1e-3", "~", "vidiff.nn.generators.ConvGenerator"]),
    st.sampled_from(["os.system", "nan", "{}", "[]", "null", "-1"]),
)  # fmt: skip
KEYS = st.one_of(st.sampled_from(NAMES), st.text(max_size=6))
TREES = st.recursive(
    LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=4), max_leaves=12
)
FILES = st.dictionaries(st.sampled_from(NAMES), TREES, max_size=4)
WORDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), LEAVES).map(lambda t: f"--{t[0]}.{t[1]}={t[2]}"),
        st.tuples(st.sampled_from(NAMES), LEAVES).map(lambda t: f"--{t[0]}={t[1]}"),
        st.text(max_size=8),
    ),
    max_size=2,
)


def outcome(work) -> str:
    """Whether it was done, or refused in one line."""
    try:
        work()
    except UsageError as error:
        assert str(error).strip() and "\n" not in str(error), str(error)
        return "refused"
    except SystemExit as stop:  # `--help`, which text may well ask for
        assert stop.code == 0
    return "done"


def fuzz_fit(path: Path, examples: int) -> list[str]:
    seen = []

    @hypothesis.settings(max_examples=examples, suppress_health_check=list(hypothesis.HealthCheck), **SETTINGS)
    @hypothesis.given(FILES, WORDS)
    def one(content: dict, words: list[str]) -> None:
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        common = ["fit", "--config", "experiments/dcgan.yaml", "--config", str(path)]
        seen.append(outcome(lambda: resolved_config([*common, *words])))

    one()
    return seen


def test_settings_are_parsed_or_refused(tmp_path):
    assert len(fuzz_fit(tmp_path / "a.yaml", 6)) >= 6
    assert not list(tmp_path.glob("[!a]*"))


@pytest.mark.slow
def test_many_settings_are_parsed_or_refused(tmp_path):
    seen = fuzz_fit(tmp_path / "a.yaml", 400)
    print({what: seen.count(what) for what in seen})
    assert len(seen) >= 400 and {"done", "refused"} == set(seen)


SIGNS = st.text(alphabet="ab01:-{}[]&*!|>'\"%@`#?,.~ \n\t\\=<", max_size=40).map(str.encode)


@hypothesis.settings(max_examples=400, **SETTINGS)
@hypothesis.given(st.one_of(SIGNS, st.binary(max_size=60)))
@hypothesis.example(b"a: 2024-13-45")  # no day of any calendar
@hypothesis.example(b"[" * 3000)
@hypothesis.example(b"a: !!int x")
@hypothesis.example(b"a: !!python/object/apply:os.system [ls]")
def test_any_file_is_yaml_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    assert outcome(lambda: read_config(str(path))) in ("done", "refused")


def verb(source: Path, *, number: int = 1, rate: float = 1.0, kind: Literal["a", "b"] = "a", flag: bool = True) -> None:
    """Do it.

    Args:
        source: what is read.
        number, rate, kind, flag: how.
    """


@hypothesis.settings(max_examples=300, **SETTINGS)
@hypothesis.given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["--number", "--rate", "--kind", "--no-flag", "--flag", "a", "1", "-1", "1e999", "--", "-h"]
            ),
            st.text(max_size=8),
        ),
        max_size=5,
    )
)
def test_any_words_are_taken_or_refused(words):
    assert outcome(lambda: call([verb], "vidiff verb", words)) in ("done", "refused")
