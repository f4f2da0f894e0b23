"""What README and docs show works: commands are parsed by the real parsers, YAML against the real signatures."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import pytest
import yaml

from vidiff.bench.definition import load
from vidiff.cli import TRAINING_VERBS
from vidiff.command_line import call, functions_of, parser_of
from vidiff.errors import UsageError
from vidiff.inference.plan import read_plan
from vidiff.models import families
from vidiff.training.cli import resolved_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
RUN_ELSEWHERE = ["docs/new-family.md"]  # tests/commands/test_new_family.py copies its blocks out and runs them
EXPERIMENTS = {
    "docs/diffusion.md": "flow",
    "docs/restoration.md": "restoration",
    "docs/translation.md": "cyclegan",
}  # what the YAML of a page is laid over, where it is not `dcgan`
PLACEHOLDERS = {"SEED": "0"}  # words in capitals that stand for more than a name or a path


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence, its language, its text."""

    page: str
    line: int
    language: str
    text: str


def blocks_of(path: Path) -> list[Block]:
    text, page = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(page, text[: m.start()].count("\n") + 1, m[1], m[2]) for m in found]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def each(*languages: str):
    chosen = [b for b in BLOCKS if b.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=[f"{b.page}:{b.line}" for b in chosen])


def lines_of(text: str) -> list[list[str]]:
    """The words of each command of a block: without comments, lines that end in a backslash joined."""
    lines = (shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines())
    return [[PLACEHOLDERS.get(word, word) for word in words] for words in lines if words]


def command(verb: str):
    return importlib.import_module(f"vidiff.commands.{verb}")


@functools.cache
def parse(*words: str) -> None:
    """The words of a training verb as the program parses them; README says some in two languages."""
    resolved_config(words)


def check_command(words: list[str], experiment: str = "dcgan") -> None:
    """Parse one command line as the program would, and go no further.

    Raises:
        UsageError: what the program would answer.
    """
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), words
        return
    words = words[2:] if words[:2] == ["python", "-m"] else words
    assert words[0] == "vidiff", words
    verb, rest = words[1], words[2:]
    if verb in TRAINING_VERBS:
        for i, word in enumerate(rest):
            if rest[i - 1] == "--config" and not word.startswith("experiments/"):  # a file of the reader's
                rest[i] = f"experiments/{experiment}.yaml"
        parse(verb, *rest)
        return
    given = {}

    def stand_in(function):
        """The same signature, which is all that the parser reads, and nothing done."""
        return functools.wraps(function)(lambda **arguments: given.update(arguments))

    call([stand_in(f) for f in functions_of(command(verb))], f"vidiff {verb}", rest)
    if given.get("fit"):  # `bench run ... --fit`: all that follows is for `fit`
        resolved_config(["fit", "--config", f"experiments/{experiment}.yaml", *given["fit"]])


@each("bash")
def test_commands(block):
    commands = lines_of(block.text)
    assert commands
    for words in commands:
        check_command(words, EXPERIMENTS.get(block.page, "dcgan"))


@each("yaml")
def test_yaml(block, tmp_path):
    path = tmp_path / "block.yaml"
    path.write_text(block.text, encoding="utf-8")
    if "runs" in yaml.safe_load(block.text):
        load(path)
    elif "segments" in yaml.safe_load(block.text):
        read_plan(path)
    elif block.page not in RUN_ELSEWHERE:
        experiment = EXPERIMENTS.get(block.page, "dcgan")
        resolved_config(["fit", "--config", f"experiments/{experiment}.yaml", "--config", str(path)])


@each("python")
def test_python(block):
    compile(block.text, f"{block.page}:{block.line}", "exec")


def test_every_block_says_what_it_is():
    """Printed text is `text`; a fence that is indented or never closed would hide a block from these tests."""
    assert {b.language for b in BLOCKS} <= {"bash", "yaml", "python", "text"}
    fences = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines() if "```" in line]
    assert len(fences) == 2 * len(BLOCKS)


@functools.cache
def training_options() -> frozenset[str]:
    """Every `--name` of fit, validate and test; one that takes a class of any kind is there as `--name.` too."""

    def names(prefix: str, value: object):
        yield prefix
        if value is None or isinstance(value, list):
            yield f"{prefix}."
        for key, inner in value.items() if isinstance(value, dict) else ():
            yield from names(prefix if key in ("class_path", "init_args") else f"{prefix}.{key}".lstrip("."), inner)

    strategies = [f"ablations/s_{name}" for name in ("ada", "plateau", "balance")]
    resolved = []
    for layers in (["dcgan", *strategies], ["cyclegan"]):
        configs = [word for layer in layers for word in ("--config", f"experiments/{layer}.yaml")]
        resolved.append(yaml.safe_load(resolved_config(["fit", *configs])))
    found = {f"--{name}" for config in resolved for name in names("", config)} | {"--config", "--help"}
    return frozenset(
        found | {f"--model.{name}" for family in families().values() for name in signature(family).parameters}
    )


def options_of(verb: str, action: str | None = None) -> frozenset[str]:
    """The options of a verb, of one of its actions, or of all its actions."""
    if verb in TRAINING_VERBS:
        return training_options()
    functions = {f.__name__.rstrip("_"): f for f in functions_of(command(verb))}
    if action in functions and len(functions) > 1:
        functions = {action: functions[action]}
    own = frozenset(o for f in functions.values() for o in parser_of(f, "")._option_string_actions)
    return own | training_options() if "--fit" in own else own  # what follows `--fit` is for `fit`


def unknown_flags(code: str, options: frozenset[str]) -> list[str]:
    """The words of a text that begin like options and are none of these."""
    flags = [word.partition("=")[0] for word in code.split() if re.match(r"--\w", word)]
    return [f for f in flags if f not in options and f"{f.rpartition('.')[0]}." not in options]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_what_the_prose_names(path):
    """`vidiff verb ...` and `--option` between backticks: the verb has these options, any verb has that one."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    verbs = [*TRAINING_VERBS, *(p.stem for p in (ROOT / "vidiff" / "commands").glob("[a-z]*.py") if p.stem != "fit")]
    everything = frozenset(option for verb in verbs for option in options_of(verb)) | {"--version"}
    for code in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose):
        if match := re.match(r"(?:python -m )?vidiff ([a-z]+)(?: ([a-z]+)\b)?", code):
            assert match[1] in verbs and not unknown_flags(code, options_of(*match.groups())), code
        elif code.startswith("--"):
            assert not unknown_flags(code, everything), code


@pytest.mark.parametrize("line", [
    "vidiff frobnicate x",
    "vidiff sample --ckpt a.ckpt --nonsense 3",
    "vidiff sample --ckpt a.ckpt --seed many",
    "vidiff weights",
    "vidiff fit --config experiments/dcgan.yaml --model.nonsense 3",
    "vidiff fit --config experiments/dcgan.yaml --model.width wide",
    "vidiff fit --config experiments/nowhere.yaml",
])  # fmt: skip
def test_a_wrong_command_would_be_noticed(line):
    with pytest.raises((UsageError, ImportError)):
        check_command(shlex.split(line))


@pytest.mark.parametrize("text", [
    "model: {init_args: {nonsense: 3}}",
    "data: {init_args: {augment: [{class_path: vidiff.augment.SpeedCurve, init_args: {nonsense: 1}}]}}",
    "data: {init_args: {augment: [{class_path: vidiff.augment.Nowhere}]}}",
    "runs: [dcgan]\nnonsense: 1",
])  # fmt: skip
def test_a_wrong_block_would_be_noticed(text, tmp_path):
    with pytest.raises(UsageError):
        test_yaml(Block("docs/x.md", 1, "yaml", text), tmp_path)
