"""Older names in checkpoints and configurations become the present ones, whatever they are nested in."""

import importlib

from vidiff.renamed import CLASSES, MODULES, VALUES, renamed, today


def test_every_name_leads_to_something_that_is_there():
    for module in MODULES.values():
        importlib.import_module(module)
    for path in CLASSES.values():
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_modules_then_classes_are_looked_up(monkeypatch):
    monkeypatch.setitem(MODULES, "vidiff.nn.old", "vidiff.nn.new")
    monkeypatch.setitem(CLASSES, "vidiff.nn.new.Former", "vidiff.nn.other.Present")
    assert today("vidiff.nn.old.Former") == today("vidiff.nn.new.Former") == "vidiff.nn.other.Present"
    assert today("vidiff.nn.old.Kept") == "vidiff.nn.new.Kept"
    assert today("vidiff.nn.older.Former") == "vidiff.nn.older.Former"  # another module whose name begins alike


def test_nested_records():
    old, new = next(iter(MODULES.items()))
    record = {"init_args": {"parts": [{"class_path": f"{old}.A", "init_args": {"conv": "factorised", "n": 3}}]}}
    wanted = {"init_args": {"parts": [{"class_path": f"{new}.A", "init_args": {"conv": "factorized", "n": 3}}]}}
    assert renamed(record) == wanted
    assert VALUES["conv"].keys() == {"factorised"} and renamed({"conv": {"a": 1}, "x": "factorised"}) == {
        "conv": {"a": 1},
        "x": "factorised",
    }
