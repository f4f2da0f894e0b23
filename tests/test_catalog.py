"""What `vidiff list` reads from the source is what an import finds."""

from __future__ import annotations

import inspect

import pytest

from vidiff import catalog
from vidiff.cli import main
from vidiff.errors import UsageError
from vidiff.models import families


def test_families_are_those_that_can_be_imported():
    assert {name for name, _ in catalog.families()} == set(families())
    assert all(about for _, about in catalog.families())


@pytest.mark.parametrize("name", sorted(families()))
def test_every_setting_of_a_family_once_with_its_default_and_meaning(name, capsys):
    described = catalog.described(name.lower())
    found = {n: default for d in described for s in d.settings for n, default in zip(s.names, s.defaults)}
    assert sum(len(s.names) for d in described for s in d.settings) == len(found)
    wanted: dict[str, object] = {}
    for cls in inspect.getmro(families()[name]):
        if "__init__" in vars(cls) and cls.__module__.startswith("vidiff."):
            for p in list(inspect.signature(cls.__init__).parameters.values())[1:]:
                if p.kind is not p.VAR_KEYWORD:
                    wanted.setdefault(p.name, p.default)
    assert found.keys() == wanted.keys()
    for setting, default in wanted.items():
        if isinstance(default, bool | int | float | str | None):
            assert found[setting] == repr(default), setting
    assert not [s.names for d in described for s in d.settings if not s.meaning]
    module = inspect.getmodule(families()[name]).__name__.rpartition(".")[2]
    assert catalog.described(module)[0] == described[0]
    assert main(["list", name]) == 0 and len(capsys.readouterr().out.splitlines()) <= 60


def test_parts_of_a_configuration_and_other_classes():
    assert [d.name for d in catalog.described("data")] == ["ClipDataModule", "PairDataModule", "DomainDataModule"]
    assert "every_n_steps" in [n for s in catalog.described("evaluation")[0].settings for n in s.names]
    assert "decay_start" in [n for s in catalog.described("schedule")[0].settings for n in s.names]
    with pytest.raises(UsageError, match="Did you mean 'CycleGAN'.*Any other class"):
        catalog.described("CyleGAN")
