"""The pages as a site: nothing missing from the menu, no link, anchor or picture leads nowhere, nothing is fetched."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from helpers import child_environment
from markdown_it import MarkdownIt

from vidiff import catalog
from vidiff.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WRITTEN = [*sorted(ROOT.glob("README*.md")), *sorted(DOCS.rglob("*.md"))]


@functools.cache
def reference() -> dict[str, str]:
    """Path under docs/ -> text of every page that is made while the site is built."""
    sys.path.insert(0, str(DOCS))
    try:
        import reference
    finally:
        sys.path.remove(str(DOCS))
    listed = set(in_menu(reference.menu()))
    made = reference.pages()
    assert listed == set(made)
    return made


def in_menu(entry: object):
    """The pages of a menu, however deep."""
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from in_menu(inner)


def slugs(heading: str) -> set[str]:
    """The anchor of a heading, where MkDocs and code hosts agree about it; else none."""
    text = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return {host} if (host := text.replace(" ", "-")) == re.sub(r"[-\s]+", "-", text) else set()


def read(text: str) -> tuple[set[str], list[str]]:
    """The anchors of a page, and where its links and pictures lead."""
    anchors, leads = set(), []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in zip([None, *tokens], tokens):
        children = token.children or []
        if before and before.type == "heading_open":
            anchors |= slugs("".join(c.content for c in children if c.type in ("text", "code_inline")))
        for child in children:
            leads += [child.attrs[a] for a in ("href", "src") if a in child.attrs]
        for html in (t.content for t in (token, *children) if t.type.startswith("html")):
            leads += re.findall(r'(?:href|src)="([^"]+)"', html)
            anchors |= set(re.findall(r'id="([^"]+)"', html))
    return anchors, leads


def broken(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead to no file, no page of the reference or no heading."""
    out = []
    for lead in read(text)[1]:
        url = urlsplit(lead)
        if url.scheme or url.netloc:
            continue
        target = (page.parent / unquote(url.path)).resolve() if url.path else page
        made = reference().get(os.path.relpath(target, DOCS))
        if not target.exists() and made is None:
            out.append(lead)
        elif url.fragment and target.suffix == ".md":
            inside = text if target == page else made or target.read_text(encoding="utf-8")
            out += [lead] if url.fragment not in read(inside)[0] else []
    return out


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_anchors_and_pictures_lead_somewhere(page):
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_the_reference_links_to_what_is_there():
    for path, text in reference().items():
        assert broken(DOCS / path, text) == [], path


@pytest.mark.parametrize("text, wrong", [
    ("[a](index.md) ![b](../Makefile) [c](https://example.org/x.md)", []),
    ("[a](nowhere.md)", ["nowhere.md"]),
    ("![a](pictures/nowhere.png)", ["pictures/nowhere.png"]),
    ('<img src="nowhere.gif">', ["nowhere.gif"]),
    ("# A, b\n\n[a](#a-b) [b](#a--b)", ["#a--b"]),
    ("# A - b\n\n[a](#a-b)", ["#a-b"]),  # a code host makes three hyphens of it, MkDocs one
    ("```text\n[a](nowhere.md)\n```\n`[a](nowhere.md)`", []),
    ("[a](reference/settings/model.md#adversarialmodule) [b](reference/nowhere.md)", ["reference/nowhere.md"]),
])  # fmt: skip
def test_a_link_that_leads_nowhere_would_be_noticed(text, wrong):
    assert broken(DOCS / "index.md", text) == wrong


def menu() -> list:
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]


def test_every_page_is_in_the_menu_and_every_entry_of_the_menu_a_page():
    listed = list(in_menu(menu()))
    assert sorted(listed) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))
    assert {"Reference": []} in menu()


def test_settings_of_the_reference_are_those_of_the_package():
    for name, about in catalog.families():
        text = next(t for t in reference().values() if t.startswith(f"# {name}\n"))
        assert about in text
        page = text + reference()["reference/settings/model.md"]
        rows = {n for first in re.findall(r"^\| (.*?) \|", page, re.M) for n in re.findall(r"`(\w+)`", first)}
        assert {n for d in catalog.described(name) for s in d.settings for n in s.names} <= rows


def test_every_verb_is_in_the_reference_with_its_options(capsys):
    assert main(["--help"]) == 0
    verbs = re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE)
    text = reference()["reference/commands.md"]
    assert len(verbs) > 8 and all(f"## vidiff {verb}\n" in text for verb in verbs)
    with pytest.raises(SystemExit):
        main(["sample", "--help"])
    options = re.findall(r"^  (--[\w.]+)", capsys.readouterr().out, re.MULTILINE)
    section = text.partition("## vidiff sample\n")[2].partition("\n## ")[0]
    assert options and all(f"`{option}" in section for option in options)


def test_pictures_are_small_and_each_is_drawn_and_shown():
    drawn = re.findall(r'^    "(.*?)": \w+,$', (DOCS / "make_pictures.py").read_text(encoding="utf-8"), re.MULTILINE)
    by_models = (
        "readme.gif",
        "restored_noise.png",
        "detector_map.png",
        "detector_reliability.png",
        "paired_latents.png",
        "flow_path.png",
        "guided_flow.gif",
        "layers_flow.gif",
    )
    made = {DOCS / "pictures" / name for name in by_models}  # not drawn again
    assert all(p.stat().st_size <= 400_000 for p in made)
    there = [p for p in (DOCS / "pictures").iterdir() if p not in made]
    assert len(drawn) > 4 and {p.name for p in there if p.suffix != ".svg"} == set(drawn)
    assert all(p.stat().st_size <= 200_000 for p in there) and sum(p.stat().st_size for p in there) <= 2_500_000
    shown = {Path(lead).name for page in WRITTEN for lead in read(page.read_text(encoding="utf-8"))[1]}
    assert {p.name for p in there} <= shown


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path):
    """`--strict` ends with 1 where there is a warning."""
    pytest.importorskip("mkdocstrings")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = child_environment() | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    for page in [*in_menu([e for e in menu() if e != {"Reference": []}]), *reference()]:
        html = (tmp_path / "site" / page).with_suffix(".html").read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(https?://[^\s\">]+)", html)
        assert not fetched, page
    api = (tmp_path / "site" / "reference" / "api" / "vidiff.html").read_text(encoding="utf-8")
    assert "load_model" in api and "translate_video" in api
