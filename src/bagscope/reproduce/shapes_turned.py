"""How much a judge's word changes when the volume that it is given is turned."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from bagscope.classical.cutting import Cut
from bagscope.ops.rotate import small_rotations, uniform_rotations
from bagscope.run.shape_rows import Solid, solid_of
from bagscope.run.shape_scores import judged_solids
from bagscope.run.train_volumes import LabelledShapes

SHAPES, ROTATIONS, QUICK = 20, 20, 2
_STREAM = 43


def rotation_change(
    judge: Any, card: Any, away: LabelledShapes, seed: int, *, few: bool
) -> dict[str, dict[str, float]]:
    """Mean and largest change of a shape's probability over rotations of its voxels, by method.

    The volume itself is turned, its voxels are filled anew, and everything is measured again: what is compared is what
    a user would get for the same nucleus in another pose. Rotations are of the range that the model was trained with;
    where that is small, full rotations stand beside it (`_full`).

    Parameters
    ----------
    away : rows that the judge did not see; the first shapes of each class are turned.
    """
    count, turns = (QUICK, QUICK) if few else (SHAPES, ROTATIONS)
    solids = [row.solids[0] for row in away.found][: 4 * count : 4][:count] or [away.found[0].solids[0]]
    rng = np.random.default_rng([_STREAM, seed])
    kinds = {"": _drawn(rng, card, turns)}
    if card.turns["range"] == "small":
        kinds["_full"] = uniform_rotations(rng, turns)
    changes: dict[str, dict[str, float]] = {"default": {}, "network": {}}
    for word, rotations in kinds.items():
        each: dict[str, list[np.ndarray]] = {"default": [], "network": []}
        for solid in solids:
            turned = [solid, *(_turned(solid, matrix, card) for matrix in rotations)]
            table, _ = judged_solids(judge, card, turned, next(judge.parameters()).device)
            for method, column in (("default", "probability"), ("network", "network")):
                p = table[f"{column}:{card.outputs[-1]}"].to_numpy(float)
                each[method].append(np.abs(p[1:] - p[0]))
        for method, found in each.items():
            changes[method] |= {word: float(np.mean(found)), f"{word}_worst": float(np.max(found))}
    return changes


def _drawn(rng: np.random.Generator, card: Any, count: int) -> np.ndarray:
    if card.turns["range"] == "full":
        return uniform_rotations(rng, count)
    if card.turns["range"] == "small":
        return small_rotations(rng, count, card.turns["sd"])
    return np.repeat(np.eye(3)[None], count, 0)


def _turned(solid: Solid, matrix: np.ndarray, card: Any) -> Solid:
    """Turn a solid's voxels about its middle, in micrometres, and describe it anew."""
    mask, spacing = solid.cut.mask, np.asarray(solid.shape.spacing)
    reach = np.ceil(np.linalg.norm(np.array(mask.shape) * spacing) / spacing / 2).astype(int) + 1
    shape = 2 * reach + 1
    # Output voxel -> input voxel: out of the turned frame, about both middles.
    inner = np.diag(1 / spacing) @ matrix.T @ np.diag(spacing)
    middle = np.argwhere(mask).mean(0)
    found = ndimage.affine_transform(
        mask.astype(np.float32), inner, middle - inner @ reach, output_shape=tuple(shape), order=1
    )
    voxels = found > 0.5
    if not voxels.any():
        return solid
    box = ndimage.find_objects(voxels.astype(np.uint8))[0]
    cut = Cut(solid.cut.number, box, voxels[box], at_border=False, touching=0.0)
    return solid_of(cut, solid.shape.spacing, unit=card.volumes["size"] == "unit")
