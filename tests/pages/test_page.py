"""One file that holds everything: sound HTML, videos that play, nothing executed, whatever a run lacks."""

from __future__ import annotations

import base64
import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import av
import pytest
from runs import write_run

from vidiff.cli import main
from vidiff.command_line import functions_of, parser_of
from vidiff.commands import evaluate, sample, translate
from vidiff.errors import UsageError
from vidiff.pages import clips, write_page
from vidiff.pages.folder import read_run
from vidiff.pages.further import commands
from vidiff.pages.words import verdict
from vidiff.training.cli import resolved_config

VOID = ("br", "img", "meta", "input")


class Parsed(HTMLParser):
    """A page as a browser sees it: elements, their attributes, the text of each; ends have to fit starts."""

    def __init__(self, path: Path):
        super().__init__()
        self.open, self.found, self.texts = [], [], {}
        self.size = path.stat().st_size
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.found if found == name]

    def text(self, *names: str) -> str:
        return " ".join(t for n, texts in self.texts.items() if n in names or not names for t in texts)

    def videos(self) -> list[tuple[int, int, int]]:
        """(width, height, frames) of each, decoded."""
        out = []
        for video in self.all("video"):
            assert {"loop", "muted", "autoplay", "playsinline", "aria-label"} <= set(video) and video["aria-label"]
            content = base64.b64decode(video["src"].removeprefix("data:video/mp4;base64,"), validate=True)
            with av.open(io.BytesIO(content)) as container:
                (stream,) = container.streams
                assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
                out.append((stream.width, stream.height, sum(1 for _ in container.decode(stream))))
        return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    return {"generator": write_run(root / "generator"), "translator": write_run(root / "translator", translates=True)}


@pytest.mark.parametrize("kind", ["generator", "translator"])
def test_a_page_holds_the_run(runs, kind):
    page = Parsed(write_page([runs[kind]]))
    assert page.size < 8e6
    across, rows, columns = (2, 3, 8) if kind == "generator" else (3, 4, 4)  # of walls; of the sheet over time
    walls = [(130 * across + 2, 130 * 2 + 2, 4)] * 2
    assert page.videos() == [*walls, (98 * columns + 2, 98 * rows + 2, 4)]
    headings = page.text("h2")
    for part in (
        "Clips",
        "Measures",
        "What the doctor says",
        "Over the training",
        "Curves",
        "Go on",
        "The run",
        "Configuration",
    ):
        assert part in headings
    said = page.text()
    assert "Left out" not in said and "1,000 (G) and 900 (D)" in said and "20 generator steps" in said
    assert "a processor" in said and "61 s on the clock" in said and "fvd_random" in said
    assert "Learned" in page.text("strong") and len(page.all("svg")) >= 5
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in page.all("svg"))


def test_a_page_needs_nothing_from_elsewhere(runs):
    page = Parsed(write_page([runs["translator"]]))
    for name, attributes in page.found:
        for key in ("src", "href", "action", "poster", "srcset"):
            assert key not in attributes or attributes[key].startswith("data:video/mp4;base64,"), name
        assert not [key for key in attributes if key.startswith("on")]
    assert not page.all("link") and not page.all("iframe")
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "unsafe-inline" not in policy.partition("script-src")[2]
    assert "url(" not in page.text("style") and "import" not in page.text("script", "style")


def test_names_and_settings_are_no_part_of_the_page(tmp_path):
    bad = "</script></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00"
    run = write_run(tmp_path / "<b>&run", name=bad, note=bad.replace("\x00", ""), data={"init_args": {"root": bad[:9]}})
    walls = json.loads((run / "samples" / "walls.json").read_text())
    walls["walls"][0]["title"] = walls["walls"][1]["columns"] = bad
    (run / "samples" / "walls.json").write_text(json.dumps(walls))
    text = (run / "metrics.csv").read_text()
    (run / "metrics.csv").write_text(text.replace("train/g_adv", 'train/<script>alert(2)</script>"'))
    other = write_run(tmp_path / "other")
    for page in (Parsed(write_page([run])), Parsed(write_page([run, other], tmp_path / "both.html"))):
        assert len(page.all("script")) == 1 and not page.all("img")
        assert "alert(1)" not in page.text("script") and "alert(1)" in page.text(
            "code", "td", "dd", "h3", "b", "strong"
        )
        assert "\x00" not in page.text()


def test_walls_lie_in_the_folder_of_samples(runs, tmp_path):
    run = write_run(tmp_path / "run")
    outside = tmp_path / "outside.mp4"
    outside.write_bytes((run / "samples" / "wall-0.mp4").read_bytes())
    entries = [
        {"file": name, "title": "x"} for name in ("../../outside.mp4", str(outside), "walls.json", None, "no.mp4")
    ]
    (run / "samples" / "walls.json").write_text(json.dumps({"walls": entries}))
    assert read_run(run).walls == []


def test_several_runs_stand_side_by_side(tmp_path):
    first = write_run(tmp_path / "first")
    second = write_run(tmp_path / "second", steps=30, seed_everything=5)
    page = Parsed(write_page([first, second], tmp_path / "both.html"))
    assert len(page.videos()) == 4 and page.size < 8e6
    for name in ("walls.json", "wall-0.mp4", "wall-1.mp4"):
        (second / "samples" / name).unlink()
    assert len(Parsed(write_page([first, second], tmp_path / "both.html")).videos()) == 3  # the newest samples
    for svg in page.all("svg"):
        if "d_total" in svg["aria-label"] or "discriminator" in svg["aria-label"]:
            assert "first from" in svg["aria-label"] and "second from" in svg["aria-label"]
    cells = page.text("th", "td")
    assert "seed_everything" in cells and "trainer.max_steps" in cells and "data.resolution" not in cells
    assert "Measured differently" not in page.text()
    report = json.loads((second / "report.json").read_text())
    report["metrics"]["motion"]["protocol"]["n_fake"] = 8
    (second / "report.json").write_text(json.dumps(report))
    page = Parsed(write_page([first, second], tmp_path / "both.html"))
    assert "Measured differently, so not to be compared: motion." in page.text()


def test_generators_and_translations_share_a_page(runs, tmp_path):
    assert len(Parsed(write_page(list(runs.values()), tmp_path / "both.html")).videos()) == 4


def test_an_unfinished_run_has_a_page(tmp_path):
    run = write_run(tmp_path / "run")
    for name in ("report.json", "samples/walls.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        (run / name).unlink()
    page = Parsed(write_page([run]))
    assert "Not finished" in page.text("strong") and "step 20" in page.text()
    assert "Measures" not in page.text("h2") and "Go on" not in page.text("h2") and "Curves" in page.text("h2")
    assert "no report.json" in page.text("p") and len(page.videos()) == 2


OTHER = b'{"metrics": {"fvd_random": {}}, "directions": 3, "sessions": 4, "walls": 5}'
MISSING = {"metrics.csv": "curves", "config.yaml": "configuration", "report.json": "tables of measures"}


@pytest.mark.parametrize(
    "name, damage",
    [
        *[(name, None) for name in (*MISSING, "run.json", "samples/walls.json", "samples/wall-0.mp4")],
        *[(name, b"\xff\x00{[") for name in ("metrics.csv", "config.yaml", "samples/wall-0.mp4")],
        *[(name, OTHER) for name in ("report.json", "run.json", "samples/walls.json")],
    ],
)
def test_what_is_missing_or_damaged_is_left_out(runs, tmp_path, name, damage):
    run = shutil.copytree(runs["generator"], tmp_path / "run")
    (run / "timing.csv").unlink()
    (run / name).unlink() if damage is None else (run / name).write_bytes(damage)
    page = Parsed(write_page([run]))
    page.videos()
    assert "The run" in page.text("h2")
    if name in MISSING and damage is None:
        assert MISSING[name] in page.text("p").partition("Left out:")[2]


def test_videos_share_a_budget(runs, monkeypatch):
    """What cannot be made small enough is left out, which is said."""
    monkeypatch.setattr(clips.Shelf.__init__, "__defaults__", (300,))
    monkeypatch.setattr(clips, "COARSER", (44,))
    page = Parsed(write_page([runs["generator"]]))
    assert not page.all("video") and "wall-0.mp4 (damaged or too large)" in page.text("p")


def test_the_verdict_is_that_of_the_controls(tmp_path):
    def said(folder: str, translates: bool, **changes) -> tuple[str, str]:
        run = read_run(write_run(tmp_path / folder, translates=translates, samples=False))
        for direction in run.directions.values():
            direction.update(changes)
        for metric in run.metrics.values():
            metric.update(changes)
        return verdict(run)[1:]

    word, sentence = said("a", False)
    assert word == "Learned" and "(0.5) ahead of untrained, grey noise, mean frame frozen" in sentence
    assert "Behind frames frozen and real held out." in sentence
    word, sentence = said("b", False, value=2.5)
    assert word == "Not learned yet" and "not ahead of mean frame frozen, which" in sentence
    assert said("c", True, target_accuracy=0.9)[0] == "Learned"
    word, sentence = said("d", True, target_accuracy=0.1)
    assert word == "Partly learned" and "Taken for the target: a2b 10%, b2a 10%." in sentence
    assert said("e", True, value=9.5)[0] == "Not learned yet"


@pytest.mark.parametrize("kind", ["generator", "translator"])
def test_the_commands_are_what_the_parsers_take(runs, kind):
    found = commands(read_run(runs[kind]))
    verbs = [words[1] for _, words in found]
    assert verbs == (["fit", "sample", "evaluate", "test"] if kind == "generator" else ["fit", "translate", "test"])
    for _, (program, verb, *rest) in found:
        assert program == "vidiff"
        if verb in ("fit", "test"):
            rest[rest.index("--config") + 1] = "experiments/dcgan.yaml"
            resolved_config([verb, *rest])
        else:
            (function,) = functions_of({"sample": sample, "evaluate": evaluate, "translate": translate}[verb])
            parser_of(function, "").parse_args(rest)


def test_the_command_prints_the_path(runs, tmp_path, capsys):
    assert main(["report", str(runs["generator"])]) == 0
    assert capsys.readouterr().out.strip() == str(runs["generator"] / "report.html")
    assert main(["report", *map(str, runs.values()), "--output", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").is_file()


def test_what_is_no_run_is_refused_in_one_line(runs, tmp_path, capsys):
    for folders, said in (
        ([tmp_path], "is no run"),
        ([tmp_path / "nowhere"], "no such folder"),
        ([runs["generator"], runs["generator"] / "."], "given twice"),
    ):
        assert main(["report", *map(str, folders)]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    with pytest.raises(UsageError, match="1 to 8 runs"):
        write_page([])
