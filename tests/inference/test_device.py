"""Devices by name, and what is taken where none is named."""

from __future__ import annotations

import pytest
import torch

from vidiff.errors import UsageError
from vidiff.inference.device import pick_device


@pytest.mark.parametrize("name", ["quux", "cuda:99", "meta", ""])
def test_devices_that_do_not_exist(name):
    with pytest.raises(UsageError, match=f"device {name}: .*there are cpu"):
        pick_device(name)


def test_an_accelerator_where_there_is_one(monkeypatch):
    assert pick_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert pick_device() == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    assert pick_device() == torch.device("cuda")
