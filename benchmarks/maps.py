"""What maps, belief propagation and cells cost beside a field's own pass through the network."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from captum.attr import GuidedBackprop
from torch import Tensor, nn

from bagscope.files.reader import open_image
from bagscope.files.writer import write_ome_tiff
from bagscope.images.cell_windows import cut_windows, judge_windows
from bagscope.images.predict import Model
from bagscope.images.task import build_network
from bagscope.nets.jacobian import RectifiedReLU, jacobian_maps, kraus_seed
from bagscope.nets.kraus import KrausNet
from bagscope.ops import lattice
from benchmarks.interleaved import median, seconds
from benchmarks.plates import CHANNELS, FACTOR, card_of, job_of
from benchmarks.rows import Row
from benchmarks.sizes import Size

CLASSES = 13
# Cells of a field of BBBC013, as many as its nuclei on the average.
CELLS_PER_FIELD = 194


class _Seeded(nn.Module):
    """A network with torch's own activations, as Captum knows them, summed up with a seed: one number per class."""

    def __init__(self, net: KrausNet, seed: Tensor):
        super().__init__()
        layers = [nn.ReLU() if isinstance(layer, RectifiedReLU) else layer for layer in net.trunk]
        self.trunk, self.classifier, self.seed = nn.Sequential(*layers), net.classifier, seed

    def forward(self, x: Tensor) -> Tensor:
        return (self.classifier(self.trunk(x)) * self.seed).sum((2, 3))


def _network(classes: int) -> KrausNet:
    torch.manual_seed(0)
    net = KrausNet(len(CHANNELS), classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval()


def maps(size: Size, scratch: Path) -> list[Row]:
    """Jacobian maps in float32: one beside the network's own pass, 13 beside Captum's loop over the same classes."""
    net, edge = _network(CLASSES), size.field_px
    x = torch.randn(1, len(CHANNELS), edge, edge).abs().contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        seed = kraus_seed(torch.zeros(1, CLASSES))
        theirs = GuidedBackprop(_Seeded(net, seed(net(x))))

    def forward() -> None:
        with torch.inference_mode():
            net(x)

    def captum() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for k in range(CLASSES):
                theirs.attribute(x.clone().requires_grad_(), target=k)

    one = seconds([forward, lambda: list(jacobian_maps(net, x, seed, [0]))], size.rounds)
    many = seconds([captum, lambda: list(jacobian_maps(net, x, seed, range(CLASSES)))], max(1, size.rounds // 3))
    return [
        Row("map_over_forward", "", median("one map over a forward pass", one[:, 1] / one[:, 0])),
        Row("maps_over_captum", str(CLASSES), median("Captum over ours, 13 maps", many[:, 0] / many[:, 1])),
    ]


def propagation(size: Size, scratch: Path) -> list[Row]:
    """Ten steps of belief propagation between two labels beside the network's own pass, both on the same square."""
    net, edge = _network(2), min(512, size.field_px)
    x = torch.randn(1, len(CHANNELS), edge, edge).contiguous(memory_format=torch.channels_last)
    unary = torch.randn(2, edge, edge)

    def forward() -> None:
        with torch.inference_mode():
            net(x)

    times = seconds([forward, lambda: lattice.sum_product(unary, 1.0)], size.rounds)
    return [Row("propagation_over_forward", "512", median("ten steps over a pass", times[:, 1] / times[:, 0]))]


def cells(size: Size, scratch: Path) -> list[Row]:
    """All cells of a field, each on its own window, beside the pass of the field itself, both rescaled before."""
    net, edge = _network(2), round(size.field_px * FACTOR)
    field = torch.randn(len(CHANNELS), edge, edge)
    centres = np.random.default_rng(0).uniform(0, size.field_px - 1, (CELLS_PER_FIELD, 2))

    def forward() -> None:
        with torch.inference_mode():
            net(field[None].contiguous(memory_format=torch.channels_last))

    times = seconds([forward, lambda: judge_windows(net, cut_windows(field, centres, FACTOR), 2)], size.rounds)
    return [Row("cells_over_field", str(CELLS_PER_FIELD), median("cells over a field", times[:, 1] / times[:, 0]))]


def latency(size: Size, scratch: Path) -> list[Row]:
    """Seconds from an image's file to its call, the model being loaded: read, rescale, judge, call."""
    pixels = np.random.default_rng(0).integers(90, 900, (len(CHANNELS), size.field_px, size.field_px)).astype(np.uint16)
    write_ome_tiff(scratch / "field.ome.tif", pixels, channel_names=CHANNELS)
    card = card_of(job_of(size))
    model = Model(scratch, build_network(card).eval(), card, torch.device("cpu"))
    times = seconds([lambda: model.predict(open_image(scratch / "field.ome.tif"))], size.rounds)
    return [Row("image_latency_seconds", "", median("seconds from file to call", times[:, 0]))]
