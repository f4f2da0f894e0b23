"""docs/first-five-minutes.ipynb: a valid notebook without outputs, and its cells run one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import child_environment

ROOT = Path(__file__).resolve().parents[1]
PATH = ROOT / "docs" / "first-five-minutes.ipynb"
BOOK = json.loads(PATH.read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in BOOK["cells"] if cell["cell_type"] == "code"]

# Cells in one namespace, as a kernel runs them; what a cell ends in has to be something that Jupyter can show.
PROGRAM = """
import ast, json, sys
names, pictures = {"__name__": "__main__"}, 0
for source in json.loads(sys.stdin.read()):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        pictures += hasattr(value, "_repr_png_")
print("pictures", pictures)
"""


def test_it_is_a_notebook():
    """What the format 4.5 asks for; the whole schema where nbformat is installed."""
    assert (BOOK["nbformat"], BOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in BOOK["cells"]]
    assert len(set(ids)) == len(ids) and {cell["cell_type"] for cell in BOOK["cells"]} == {"markdown", "code"}
    for cell in BOOK["cells"]:
        wanted = {"cell_type", "id", "metadata", "source"}
        assert set(cell) == wanted | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
        assert cell["source"] and all(isinstance(line, str) for line in cell["source"])
    try:
        import nbformat
    except ImportError:
        return
    nbformat.validate(BOOK)


def test_it_holds_no_outputs():
    cells = [cell for cell in BOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.parametrize("source", CODE, ids=lambda source: source.splitlines()[-1][:30])
def test_a_cell_is_plain_python(source):
    compile(source, str(PATH), "exec")


def test_its_links_lead_to_pages():
    from test_site import broken

    text = "\n\n".join("".join(cell["source"]) for cell in BOOK["cells"] if cell["cell_type"] == "markdown")
    assert "](" in text and broken(PATH, text) == []


@pytest.mark.slow
def test_it_runs(tmp_path):
    environment = child_environment() | {"VIDIFF_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(CODE),
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "pictures 3"
    assert (tmp_path / "first-five-minutes" / "dcgan" / "report.json").is_file()
