"""Modules as a user has them: torchvision's r3d_18 written once more, with its names, right and with mistakes."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()

        def unit(channels: int, stride: int, *more: nn.Module) -> nn.Sequential:
            conv = nn.Conv3d(channels, outputs, 3, stride, 1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm3d(outputs), *more)

        self.conv1 = unit(inputs, stride, nn.ReLU(inplace=True))
        self.conv2 = unit(outputs, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1:
            conv = nn.Conv3d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm3d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + shortcut)


class Video(nn.Module):
    def __init__(self, classes: int = 400) -> None:
        super().__init__()
        conv = nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm3d(64), nn.ReLU(inplace=True))
        widths = (64, 64, 128, 256, 512)
        for stage in range(1, 5):
            before, after = widths[stage - 1 : stage + 1]
            first = Block(before, after, 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, Block(after, after, 1)))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.avgpool(x).flatten(1))


class Exchanged(nn.Module):
    """Two blocks that run in each other's place."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__.update(Video().__dict__)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer1[0](self.layer1[1](self.stem(x)))
        for stage in (self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.avgpool(x).flatten(1))


def right() -> nn.Module:
    return Video()


def planted_eps() -> nn.Module:
    model = Video()
    model.layer3[1].conv2[1].eps = 1e-3
    return model


def other_head() -> nn.Module:
    model = Video(classes=51)
    model.classifier, model.fc = model.fc, nn.Identity()
    return model


def failing() -> nn.Module:
    raise RuntimeError("no weights here")


NO_MODULE = 1
