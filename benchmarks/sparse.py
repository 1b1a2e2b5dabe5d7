"""What a convolution costs that computes at occupied voxels alone, beside a dense one."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv3d

from bagscope.nets.sparse3d import SubmanifoldConv3d
from bagscope.ops.sparse import Sites, make_sites
from benchmarks.interleaved import median, seconds
from benchmarks.rows import Row
from benchmarks.sizes import Size
from benchmarks.tree import peak_bytes

FEATURES, OUTPUTS, VOLUMES = 16, 32, 4
SHARE = 0.05
# Edges of grids, as multiples of 32.
GROWTH = (1, 2, 4, 8)
SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)


def sparse(size: Size, scratch: Path) -> list[Row]:
    """Forward and backward of a 16 -> 32 submanifold convolution on one core, over a dense one's faster memory format.

    Sites lie where surfaces would: in shells about the middle, whatever share is asked for.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        side = size.side
        fast = _ratio("speed-up", side, SHARE, size.rounds)
        worst = max(1 / _ratio(f"dense over sparse at {share:g}", side // 2, share, size.rounds) for share in SHARES)
    finally:
        torch.set_num_threads(before)
    memory = {kind: peak_bytes([sys.executable, "-m", "benchmarks.sparse", kind, str(side)]) for kind in KINDS}
    share = (memory["sparse"] - memory["nothing"]) / max(1, memory["dense"] - memory["nothing"])
    print(f"  memory over that of the program itself: {share:.3f} of the dense one's")
    return [
        Row("sparse_speedup", "64_5percent", fast),
        Row("sparse_memory", "64_5percent", share),
        Row("sparse_over_dense_worst", "", worst),
    ]


def sparse_growth(size: Size, scratch: Path) -> list[Row]:
    """Seconds of the same convolution and its table, of one hollow ball two voxels thick, over those on 32^3.

    A surface grows with the square of the edge, a grid with its cube.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sides = [max(8, size.side * step // 2) for step in GROWTH]
        layer = SubmanifoldConv3d(FEATURES, OUTPUTS, bias=False)
        jobs = [lambda side=side: _of_surface(layer, side) for side in sides]
        found = seconds(jobs, size.rounds)
    finally:
        torch.set_num_threads(before)
    rows = []
    for at, step in enumerate(GROWTH[1:], start=1):
        name = f"{32 * step}"
        rows.append(Row("sparse_growth", name, median(f"{name}^3 over 32^3", found[:, at] / found[:, 0])))
    return rows


def _of_surface(layer: SubmanifoldConv3d, side: int) -> None:
    sites = shells(side, min(1.0, SHARE * 64 / side), 1)
    _step(layer(torch.randn(len(sites), FEATURES, requires_grad=True), sites))


def shells(side: int, share: float, volumes: int = VOLUMES) -> Sites:
    """Sites of hollow balls that fill a share of the grid, in order."""
    axes = torch.arange(side) - (side - 1) / 2
    away = (axes[:, None, None] ** 2 + axes[None, :, None] ** 2 + axes[None, None, :] ** 2).sqrt()
    # The outer of them lies at 70 % of the way to the side; more sites make it thicker, in both directions.
    order = (away - 0.35 * side).abs().flatten().argsort(stable=True)
    mask = torch.zeros(side**3, dtype=torch.bool)
    mask[order[: max(1, round(share * side**3))]] = True
    place = mask.reshape(side, side, side).nonzero()
    every = torch.cat([torch.cat([torch.full((len(place), 1), at), place], 1) for at in range(volumes)])
    return make_sites(every, (side, side, side), volumes)[0]


def _ratio(name: str, side: int, share: float, rounds: int) -> float:
    """Dense seconds over sparse ones, tables made before."""
    sites = shells(side, share)
    layer = SubmanifoldConv3d(FEATURES, OUTPUTS, bias=False)  # the dense one has none either
    features = torch.randn(len(sites), FEATURES, requires_grad=True)
    _ = sites.neighbours
    dense = _dense(side)
    sides = [
        lambda: _step(layer(features, sites)),
        *(lambda x=x, w=w: _step(conv3d(x, w, padding=1)) for x, w in dense),
    ]
    found = seconds(sides, rounds)
    return median(name, found[:, 1:].min(1) / found[:, 0])


def _dense(side: int) -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(VOLUMES, FEATURES, side, side, side)
    weight = torch.randn(OUTPUTS, FEATURES, 3, 3, 3)
    formats = (torch.contiguous_format, torch.channels_last_3d)
    return [
        tuple(one.contiguous(memory_format=kind).requires_grad_() for one in (x.clone(), weight.clone()))  # type: ignore[misc]
        for kind in formats
    ]


def _step(out: Tensor) -> None:
    out.backward(torch.ones_like(out))


def _nothing(side: int) -> None:
    shells(8, SHARE)


def _one_sparse(side: int) -> None:
    sites = shells(side, SHARE)
    _step(
        SubmanifoldConv3d(FEATURES, OUTPUTS, bias=False)(torch.randn(len(sites), FEATURES, requires_grad=True), sites)
    )


def _one_dense(side: int) -> None:
    x, weight = _dense(side)[1]
    _step(conv3d(x, weight, padding=1))


KINDS = {"nothing": _nothing, "sparse": _one_sparse, "dense": _one_dense}

if __name__ == "__main__":
    torch.set_num_threads(1)
    KINDS[sys.argv[1]](int(sys.argv[2]))
