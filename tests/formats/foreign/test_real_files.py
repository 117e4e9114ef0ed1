"""Files that PyTorch itself writes in other formats than torch.save's: by their names, and the advice works."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributed.checkpoint
from torch import nn
from torch.package import PackageExporter

from converters.errors import BadInput
from converters.formats.open import open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        open_checkpoint(str(path))
    return str(caught.value)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()


def agree(path: Path, network: nn.Module) -> None:
    """A file that the advice led to has the network's tensors."""
    with open_checkpoint(str(path)) as checkpoint:
        for name, value in network.state_dict().items():
            assert checkpoint.tensors[name].tobytes() == value.numpy().tobytes()


def test_torch_distributed_checkpoint(network: nn.Module, tmp_path: Path) -> None:
    folder = tmp_path / "dcp"
    torch.distributed.checkpoint.save(network.state_dict(), checkpoint_id=folder)
    for path in (folder, folder / "__0_0.distcp", folder / ".metadata"):
        advice = re.search(
            r"python (-m torch\.distributed\.checkpoint\.format_utils dcp_to_torch .*)", refusal(path)
        )
        assert advice
    words = advice[1].replace("OUT.pth", str(tmp_path / "out.pth")).split()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, timeout=120)
    agree(tmp_path / "out.pth", network)
    (folder / "__0_0.distcp").rename(folder / "renamed")
    assert "torch.distributed.checkpoint" in refusal(folder / "renamed")


def test_torch_export(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3),)), path)
    assert "torch.save(torch.export.load('m.pt2').state_dict, 'OUT.pth')" in refusal(path)
    torch.save(torch.export.load(path).state_dict, tmp_path / "out.pth")
    agree(tmp_path / "out.pth", network)


def test_torch_package(network: nn.Module, tmp_path: Path) -> None:
    with PackageExporter(tmp_path / "m.pt") as exporter:
        exporter.extern("torch.**")
        exporter.save_pickle("model", "model.pkl", network)
    assert "torch.package.PackageImporter" in refusal(tmp_path / "m.pt")
