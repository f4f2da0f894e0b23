"""At the end of a run: what is kept for its page, and that neither that nor the page ever fails the run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from runs import clips, write_run

from vidiff.pages.folder import read_run
from vidiff.training import page
from vidiff.training.run import Run


def trainer(printed: list[str]):
    return SimpleNamespace(is_global_zero=True, print=printed.append)


def test_the_end_of_a_session_is_kept_and_the_page_named(tmp_path):
    folder, printed = write_run(tmp_path / "run", samples=False), []
    callback = page.Page(Run(folder))
    callback.on_fit_end(trainer(printed), None)
    assert printed == [f"page     {folder / 'report.html'}"] and (folder / "report.html").is_file()
    assert json.loads((folder / "run.json").read_text())["sessions"][-1]["seconds"] > 0


@pytest.mark.parametrize("fault", ["write_page", "write_json"])
def test_a_page_that_cannot_be_written_costs_one_line(tmp_path, monkeypatch, capsys, fault):
    def broken(*_):
        raise OSError("No space left on device\nmore")

    run = Run(write_run(tmp_path / "run", samples=False))
    monkeypatch.setattr(page, fault, broken)
    page.Page(run).on_fit_end(trainer([]), None)
    said = capsys.readouterr().err
    assert "report.html could not be written: OSError: No space left on device\n" in said and said.count("\n") == 1


def test_other_processes_write_nothing(tmp_path):
    page.Page(Run(tmp_path)).on_fit_end(SimpleNamespace(is_global_zero=False), None)
    assert not list(tmp_path.iterdir())


def test_walls_are_found_again(tmp_path):
    some = clips(4)
    page.write_walls(tmp_path / "samples", [page.Wall("Real", some, 2), page.Wall("A to B", some, 2, ("a", "b"))], 7)
    (tmp_path / "config.yaml").write_text("{}")
    walls = read_run(tmp_path).walls
    assert [(w["title"], w["columns"], w["clips"], w["step"]) for w in walls] == [
        ("Real", [], 4, 7),
        ("A to B", ["a", "b"], 4, 7),
    ]
