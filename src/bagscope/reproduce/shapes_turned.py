"""How much a judge's word changes when the shape that it is given is turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from bagscope.classical.cutting import Cut
from bagscope.ops.rotate import small_rotations, uniform_rotations
from bagscope.volumes.fit import LabelledShapes
from bagscope.volumes.shape_scores import judged_solids
from bagscope.volumes.solids import Solid, measure_solid

SHAPES, ROTATIONS, QUICK = 40, 20, 2
# Rotations after which everything is described anew: each costs as much as reading the shapes.
DESCRIBED_ANEW = 5
_STREAM = 43

# Draws row `number` of a simulated set again, its true surface turned by a rotation (3, 3): (Z, Y, X) bool.
Redrawn = Callable[[int, np.ndarray], np.ndarray]


def rotation_change(
    judge: Any, card: Any, away: LabelledShapes, seed: int, redrawn: Redrawn | None = None, *, few: bool
) -> dict[str, dict[str, float]]:
    """Mean and largest (`_worst`) change of a shape's probability over rotations, by method and by how it was turned.

    `""`: the points that fill the shape are turned about its middle, in micrometres, and fill the network's grid anew;
    its measures and what is told of its points do not change. Rotations are of the range that the model was trained
    with; where that is small, full rotations stand beside it (`_full`).
    `_refilled`: the voxels of the mask are turned by linear interpolation, and everything is described anew.
    `_redrawn`: the true surface is turned, drawn into voxels, and everything is described anew.

    Parameters
    ----------
    away : rows that the judge did not see; the first shape of every fourth one is turned.
    redrawn : for shapes whose surface is known.
    """
    count, turns, anew = (QUICK, QUICK, QUICK) if few else (SHAPES, ROTATIONS, DESCRIBED_ANEW)
    rows = list(range(len(away)))[: 4 * count : 4]
    solids = [away.found[row].solids[0] for row in rows]
    spacings = [away.spacings[row] for row in rows]
    rng = np.random.default_rng([_STREAM, seed])
    matrices = _drawn(rng, card, turns)
    told = {"": [_told(judge, card, solids, matrix) for matrix in matrices]}
    if card.turns.range == "small":
        told["_full"] = [_told(judge, card, solids, matrix) for matrix in uniform_rotations(rng, turns)]
    masks = [solid.cut.mask for solid in solids]
    told["_refilled"] = [
        _told(judge, card, [_described(refilled(mask, edges, matrix), edges, card)
                            for mask, edges in zip(masks, spacings, strict=True)])
        for matrix in matrices[:anew]
    ]  # fmt: skip
    if redrawn is not None:
        numbers = [int(away.table["row"].iloc[row]) for row in rows]
        told["_redrawn"] = [
            _told(judge, card, [_described(redrawn(number, matrix), edges, card)
                                for number, edges in zip(numbers, spacings, strict=True)])
            for matrix in matrices[:anew]
        ]  # fmt: skip
    given = _told(judge, card, solids)
    return {method: _changes(given[method], {word: [one[method] for one in each] for word, each in told.items()})
            for method in given}  # fmt: skip


def _changes(given: np.ndarray, turned: dict[str, list[np.ndarray]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word, each in turned.items():
        change = np.abs(np.stack(each) - given)
        found |= {word: float(change.mean()), f"{word}_worst": float(change.max())}
    return found


def _told(judge: Any, card: Any, solids: Sequence[Solid], turn: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Probability of the last class for each solid, (N,), by method."""
    table, _ = judged_solids(judge, card, solids, next(judge.parameters()).device, turn)
    return {
        method: table[f"{column}:{card.outputs[-1]}"].to_numpy(float)
        for method, column in (("default", "probability"), ("network", "network"))
    }


def _drawn(rng: np.random.Generator, card: Any, count: int) -> np.ndarray:
    if card.turns.range == "full":
        return uniform_rotations(rng, count)
    if card.turns.range == "small":
        return small_rotations(rng, count, card.turns.sd)
    return np.repeat(np.eye(3)[None], count, 0)


def _described(voxels: np.ndarray, spacing: tuple[float, float, float], card: Any) -> Solid:
    box = ndimage.find_objects(voxels.astype(np.uint8))[0]
    cut = Cut(1, box, voxels[box], at_border=False, touching=0.0)
    return measure_solid(cut, spacing, card.volumes)


def refilled(mask: np.ndarray, spacing: Sequence[float], matrix: np.ndarray) -> np.ndarray:
    """Turn the voxels of a solid about its middle, in micrometres, and fill voxels of the same edges anew.

    A voxel is filled where linear interpolation finds more than half; a solid that this leaves nothing of is given back
    as it is.

    Parameters
    ----------
    mask : (Z, Y, X) bool with at least one voxel. spacing : edges of a voxel in um. matrix : (3, 3) rotation.

    Returns
    -------
    (Z', Y', X') bool, with room for every pose.
    """
    edges = np.asarray(spacing, float)
    reach = np.ceil(np.linalg.norm(np.array(mask.shape) * edges) / edges / 2).astype(int) + 1
    # Output voxel -> input voxel: out of the turned frame, about both middles.
    inner = np.diag(1 / edges) @ matrix.T @ np.diag(edges)
    middle = np.argwhere(mask).mean(0)
    found = ndimage.affine_transform(
        mask.astype(np.float32), inner, middle - inner @ reach, output_shape=tuple(2 * reach + 1), order=1
    )
    voxels = found > 0.5
    return voxels if voxels.any() else mask
