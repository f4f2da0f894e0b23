"""A trained generator as a file for other programs: ONNX, a program of torch.export, or its weights alone.

Each is written under a temporary name, read again, run on inputs of other sizes and compared with the model; only then
it takes its name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vidiff import __version__, keyed
from vidiff.errors import RunError, UsageError, first_line
from vidiff.files import check_suffix, check_writable, replacing
from vidiff.inference.checkpoint import build_model, load_model
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.inference.weights_file import write_weights
from vidiff.models.module import VideoModule
from vidiff.models.record import name_of
from vidiff.models.translation import Translator
from vidiff.nn.resnet import GRID

Format = Literal["onnx", "exported", "safetensors"]
SUFFIXES = {"onnx": ".onnx", "exported": ".pt2", "safetensors": ".safetensors"}
TOLERANCE = 1e-4
ABOUT = "vidiff"  # key of the metadata
CLIP = ("batch", "channels", "frames", "height", "width")
NEEDED = ("onnx", "onnxscript", "onnxruntime")
RANGES = {
    "clip": "[-1, 1]: pixel / 127.5 - 1",
    "z": "standard normal",
    "content": "standard normal",
    "noise": "standard normal",
    "times": "frame numbers, any real ones",
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        path: the file.
        inputs: name -> sides of each input; a side that may vary is a name.
        error: largest |difference| to the model's own output on the inputs that were compared.
    """

    path: Path
    inputs: dict[str, list[int | str]]
    error: float


@dataclass
class _Traced:
    """A network with inputs that it takes: those that it is traced on, and others that it is compared on."""

    network: nn.Module
    first: tuple[Any, ...]
    sides: list[dict[str, Any]]  # attempts at sides that vary, by the name of the input, the freest first
    others: Callable[[dict[str, Sequence[int | str]]], list[tuple[Any, ...]]]
    outputs: str = "clip in [-1, 1], float (batch, channels, frames, height, width): pixel = round(127.5 * (x + 1))"
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of all arguments, also those that are None."""
        return list(inspect.signature(self.network.forward).parameters)[: len(self.first)]


class _Translation(nn.Module):
    """One direction of a translator as a network that takes clips."""

    def __init__(self, model: Translator, source: int, target: int):
        super().__init__()
        self.network, self.mapping = model.network(source, target), model.mapping(source, target)

    def forward(self, clip: Tensor) -> Tensor:
        return self.mapping(clip)


def export(
    ckpt: str | Path,
    output: str | Path,
    *,
    format: Format | None = None,
    direction: str | None = None,
    target: str | None = None,
    trust: Sequence[str] = (),
) -> Exported:
    """Write the averaged generator of a checkpoint, in eval mode, as a file that other programs run.

    Its metadata, JSON under `vidiff`, says of each input its sides and its range. Batch, frames, height and width vary
    where the network allows. The file is read again and has to give what the model gives, to 1e-4.

    Args:
        ckpt: a checkpoint, or zoo:NAME.
        output: file to write: .onnx, .pt2 or .safetensors.
        format: onnx (needs the extra `export`), exported (torch.export) or safetensors (weights in float32 and the
            configuration, for `vidiff.load_model`); None: by the suffix.
        direction, target: what a translator does, see `vidiff.inference.translate.frame_translator`; a .safetensors
            holds all of it.
        trust: see `vidiff.inference.checkpoint.load_model`.

    Raises:
        UsageError: the request is wrong. RunError: the network cannot be written so, or what was written gives
            something else. Neither leaves a file behind.
    """
    output = Path(output)
    format = _format(output, format)
    content = read_checkpoint(ckpt)
    model = build_model(content, ckpt, trust)
    whole = format == "safetensors"
    if whole and (direction is not None or target is not None):
        raise UsageError("a .safetensors file holds every direction: leave direction and target out")
    traced = _traced(model, direction, target, whole)
    about = {
        "version": __version__,
        "class": name_of(type(model)),
        "checkpoint": Path(str(ckpt)).name,
        "step": content["global_step"],
        **traced.more,
    }
    with torch.no_grad(), replacing(output) as temporary:
        if whole:
            inputs = _sides(traced)
            write_weights(model, content, temporary, rounded=False, about=json.dumps(_about(about, traced, inputs)))
            run = _traced(load_model(temporary, "cpu", trust), None, None, whole).network
        else:
            with _quiet():
                program, inputs = _trace(traced, output)
                write = _write_onnx if format == "onnx" else _write_program
                run = write(program, traced, inputs, json.dumps(_about(about, traced, inputs)), temporary)
        error = _compare(traced, inputs, run, output)
    return Exported(output, inputs, error)


def _format(output: Path, format: Format | None) -> Format:
    check_suffix(output, *SUFFIXES.values())
    by_suffix = next(name for name, suffix in SUFFIXES.items() if suffix == output.suffix.lower())
    if format not in (None, by_suffix):
        if format not in SUFFIXES:
            raise UsageError(f"format must be one of {', '.join(SUFFIXES)}, got {format!r}")
        raise UsageError(f"{output}: the format {format} is written to a file that ends in {SUFFIXES[format]}")
    check_writable(output)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None] if by_suffix == "onnx" else []
    if missing:
        raise UsageError(f"format onnx needs {', '.join(missing)}: pip install 'vidiff[export]'")
    return by_suffix


def _traced(model: VideoModule, direction: str | None, target: str | None, whole: bool) -> _Traced:
    """What is written of a model; of a translator that is written whole, what stands for it."""
    if isinstance(model, Translator):
        first = next(pairs[0] for pairs in model.directions.values())
        return _translation(model, first if whole else model.pair(direction, target))
    if direction is not None or target is not None:
        raise UsageError(f"{type(model).__name__} does not translate: it takes no direction and no target")
    return _generation(model)


def _translation(model: Translator, pair: tuple[int, int]) -> _Traced:
    """One direction of a translator, its clips of any length and of sides that are multiples of GRID."""
    network, spec = _Translation(model, *pair).eval(), model.spec
    frames = spec.num_frames if spec.num_frames == 1 else max(spec.num_frames, 4)

    def clip(batch: int, frames: int, height: int, width: int) -> tuple[Tensor]:
        shape = spec.channels, frames, height, width
        return (keyed.normal(range(batch), shape, "export").clamp(-1, 1),)

    side = torch.export.Dim
    space = {3: GRID * side("height"), 4: GRID * side("width")}
    batch, time = {0: side("batch")}, {2: side("frames")} if spec.num_frames > 1 else {}
    attempts = [batch | time | space, batch | space, batch | time, batch, {}]
    r = max(spec.resolution, 2 * GRID)

    def others(inputs: dict[str, Sequence[int | str]]) -> list[tuple[Tensor]]:
        new = dict(zip(range(5), (1, spec.channels, frames + 3, 2 * r, r + GRID)))
        return [clip(*(new[i] if isinstance(s, str) else s for i, s in enumerate(inputs["clip"]) if i != 1))]

    names = {"source": model.domains[pair[0]], "target": model.domains[pair[1]]}
    return _Traced(network, clip(2, frames, r, r + 2 * GRID), [{"clip": a} for a in attempts], others, more=names)


def _generation(model: VideoModule) -> _Traced:
    """A generator of clips with the inputs that its family gives it for two samples; others are for three."""

    def inputs_of(ids: range, num_frames: int | None = None) -> tuple[Any, ...]:
        seen: list[tuple[Any, ...]] = []
        hook = network.register_forward_pre_hook(lambda _, given: seen.append(given))
        try:
            model.synthesize(network, ids, 0, model.sampler.labels(ids), num_frames)
        finally:
            hook.remove()
        return seen[0]

    with model.sampler.network(ema=True) as network:
        first = inputs_of(range(2))
    try:  # the same of three samples and of more frames: the sides that are others may vary
        more = inputs_of(range(7, 10), model.spec.num_frames + 2)
    except UsageError:
        more = inputs_of(range(7, 10))
    names = list(inspect.signature(network.forward).parameters)[: len(first)]
    pairs = {n: (x, y) for n, x, y in zip(names, first, more) if isinstance(x, Tensor)}
    auto = torch.export.Dim.AUTO
    free = {n: {i: auto for i, s in enumerate(x.shape) if s != y.shape[i]} for n, (x, y) in pairs.items()}
    batch = {n: {0: torch.export.Dim("batch")} for n in pairs}

    def others(inputs: dict[str, Sequence[int | str]]) -> list[tuple[Any, ...]]:
        fits = all(s in (n, str(s)) for name, (_, y) in pairs.items() for s, n in zip(inputs[name], y.shape))
        return [more] if fits else [inputs_of(range(7, 9))]

    return _Traced(network, first, [free, batch, {}], others, more={"num_classes": model.spec.num_classes})


def _trace(traced: _Traced, output: Path) -> tuple[torch.export.ExportedProgram, dict[str, list[int | str]]]:
    """The network as a program, and the sides of its inputs, with as many of them free as it allows."""
    failure: Exception | None = None
    for growing in (m for m in traced.network.modules() if hasattr(m, "stand")):
        growing.stand()
    for sides in traced.sides:
        shapes = {name: sides.get(name) for name in traced.names}
        try:
            program = torch.export.export(traced.network, traced.first, dynamic_shapes=shapes)
            inputs, module = _sides(traced, program), program.module()
            if any(module(*given).shape != traced.network(*given).shape for given in traced.others(inputs)):
                continue  # a loop over a side was written out for its first length
        except Exception as error:  # of many kinds: what cannot vary is found out by trying
            failure = error
            continue
        return program, inputs
    raise RunError(f"{output}: this network cannot be exported ({first_line(failure)})") from failure


def _sides(traced: _Traced, program: torch.export.ExportedProgram | None = None) -> dict[str, list[int | str]]:
    """Name -> sides of the inputs, those that vary by their meaning; without a program: what was not traced."""
    given = {n: x for n, x in zip(traced.names, traced.first) if isinstance(x, Tensor)}
    shapes = {n: [str(i) if i in traced.sides[0][n] else s for i, s in enumerate(x.shape)] for n, x in given.items()}
    if program is not None:
        inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
        shapes = {node.name: list(node.meta["val"].shape) for node in inputs}
    found = {}
    for name, sides in shapes.items():
        meaning = CLIP if name == "clip" else ("batch", *["frames"] * 8)
        found[name] = [s if isinstance(s, int) else meaning[i] for i, s in enumerate(sides)]
    return found


def _about(about: dict[str, Any], traced: _Traced, inputs: dict[str, list[int | str]]) -> dict[str, Any]:
    """The metadata: what the file is, and of each input its sides and range."""
    given = dict(zip(traced.names, traced.first))
    described = []
    for name, sides in inputs.items():
        known = RANGES.get(name, f"as seen: {float(given[name].min()):.3g} to {float(given[name].max()):.3g}")
        if name == "label":
            known = f"0 to {about.get('num_classes', 1) - 1}"
        kind = str(given[name].dtype).removeprefix("torch.")
        described.append({"name": name, "dtype": kind, "shape": sides, "range": known})
    free = any(isinstance(side, str) for side in inputs.get("clip", [])[3:])
    multiple = {"multiples": {"height": GRID, "width": GRID}} if free else {}
    return about | {"inputs": described, "output": traced.outputs} | multiple


Run = Callable[..., Any]


def _write_program(program, traced: _Traced, inputs: dict, about: str, path: Path) -> Run:
    torch.export.save(program, path, extra_files={ABOUT: about})
    return torch.export.load(path).module()


def _write_onnx(program, traced: _Traced, inputs: dict, about: str, path: Path) -> Run:
    import onnx_ir
    import onnxruntime

    try:
        made = torch.onnx.export(program, dynamo=True, verbose=False)
    except Exception as error:
        raise RunError(f"ONNX has no form for this network ({first_line(error)})") from error
    for value in made.model.graph.inputs:  # symbols of the tracing get their meanings
        value.shape = onnx_ir.Shape(inputs[value.name])
    made.model.metadata_props[ABOUT] = about
    made.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*given: Any) -> Tensor:
        feed = {n: x.numpy() for n, x in zip(traced.names, given) if n in inputs}
        return torch.from_numpy(session.run(None, feed)[0])

    return run


def _compare(traced: _Traced, inputs: dict, run: Run, output: Path) -> float:
    """The largest difference between the model and what was written; both on the traced inputs and of others.

    Raises:
        RunError: it is above the tolerance.
    """
    worst = 0.0
    for given in (traced.first, *traced.others(inputs)):
        mine = traced.network(*given)
        theirs = run(*given)
        error = float((mine - theirs).abs().max()) if mine.shape == theirs.shape else float("inf")
        if not error <= TOLERANCE:
            raise RunError(
                f"{output}: not written, what it would give is {error:.2g} from what the model gives, "
                f"{TOLERANCE:g} is allowed"
            )
        worst = max(worst, error)
    return worst


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of the exporters, which are about their own code."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [log.level for log in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for log in loggers:
                log.setLevel(logging.ERROR)
            yield
        finally:
            for log, level in zip(loggers, levels):
                log.setLevel(level)
