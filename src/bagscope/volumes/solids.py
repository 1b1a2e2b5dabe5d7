"""From a volume to its solids: which are there, which are fit, what each measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bagscope.classical.cutting import Cut, cut_out, find_nuclei
from bagscope.classical.morphometry import rich_measures
from bagscope.errors import ImageReadError
from bagscope.ops.solids import smoothed
from bagscope.settings.shape_sections import VolumesSection
from bagscope.volumes.shapes import Shape, make_shape

SIX = ("volume", "area", "mean_curvature", "shape_index", "curvedness", "fractal_dimension")
# Voxels that meet at a face, an edge or a corner are of one part.
_ROUND = np.ones((3, 3, 3))
# Values of a volume that can be label numbers.
_LABEL_KINDS = "bui"


@dataclass(frozen=True)
class Solid:
    """One shape of a volume.

    cut : where it lies in the stack. volume : um^3, as it is, whatever its size counts for.
    measures : by name; those of `morphometry.rich_measures`.
    """

    cut: Cut
    shape: Shape
    volume: float
    measures: Mapping[str, float]

    def as_dict(self) -> dict[str, float]:
        """Return number, position and the six usual measures by column name."""
        z, y, x = self.cut.middle
        box = {f"{axis}{end}": float(getattr(part, word)) for axis, part in zip("zyx", self.cut.box, strict=True)
               for end, word in ((0, "start"), (1, "stop"))}  # fmt: skip
        six = {name: float(self.measures[name]) for name in (*SIX, "genus", "components")}
        return {"cell": float(self.cut.number), "z": z, "y": y, "x": x, **box, "volume_um3": self.volume, **six}


def solids_of(pixels: np.ndarray, spacing: Sequence[float], section: VolumesSection) -> tuple[list[Solid], list[str]]:
    """Find, curate and describe the solids of a volume.

    Parameters
    ----------
    pixels : (Z, Y, X): a mask, labels, or grey values, see the settings of `volumes`.
    spacing : edges of a voxel in um.

    Returns
    -------
    Solids in the order of their numbers, and sentences on what was left out.

    Raises
    ------
    ImageReadError : nothing there, or a shape that is larger than allowed.
    """
    _refuse_odd(pixels)
    alone, labels, threshold = _labelled(pixels, spacing, section)
    cuts = list(cut_out(labels, alone=alone))
    if not cuts:
        cause = f"0 voxels above {threshold:g} (largest value {pixels.max():g})"
        raise ImageReadError(cause, "An empty volume has no shape: leave it out.", code="empty_volume")
    kept, notes = _curated(cuts, float(np.prod(spacing)), section, alone=alone)
    if not kept:
        cause = f"all {len(cuts)} shapes were left out: {'; '.join(notes)}"
        raise ImageReadError(cause, "Allow more in the settings of volumes.", code="none_fit")
    return [measure_solid(cut, spacing, section) for cut in kept], notes


def _refuse_odd(pixels: np.ndarray) -> None:
    if not pixels.size:
        cause = f"a volume of {'x'.join(map(str, pixels.shape))} voxels"
        raise ImageReadError(cause, "An empty volume has no shape: leave it out.", code="empty_volume")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        cause = f"{int((~np.isfinite(pixels)).sum()):,} voxels are no finite numbers"
        raise ImageReadError(cause, "Save the volume without NaN and infinity.", code="not_finite")


def _labelled(pixels: np.ndarray, spacing: Sequence[float], section: VolumesSection) -> tuple[bool, np.ndarray, float]:
    """Whether all is one solid, the labels, and the value above which a voxel counts."""
    content = section.content
    if content == "grey":
        return False, *find_nuclei(pixels, spacing)
    if pixels.dtype.kind not in _LABEL_KINDS:
        cause = f"{pixels.dtype} voxels where a mask or label numbers are expected"
        raise ImageReadError(cause, "Grey values: --set volumes.content=grey.", code="labels")
    if pixels.min() < 0:
        cause = f"voxels below 0 (least {pixels.min()}) where a mask or label numbers are expected"
        raise ImageReadError(cause, "Write the background as 0.", code="labels")
    return content == "mask" or (content == "auto" and _is_mask(pixels)), pixels, 0.0


def _is_mask(pixels: np.ndarray) -> bool:
    return pixels.dtype.kind == "b" or bool(((pixels == 0) | (pixels == pixels.max())).all())


def _curated(cuts: Sequence[Cut], voxel: float, section: VolumesSection, *, alone: bool) -> tuple[list[Cut], list[str]]:
    kept, left = [], dict.fromkeys(("at the border", "too small", "too large", "touching others"), 0)
    for cut in cuts:
        size = int(cut.mask.sum())
        if size > section.max_voxels:
            cause = f"a shape of {size:,} voxels, {section.max_voxels:,} are allowed"
            raise ImageReadError(cause, "Raise --set volumes.max_voxels, or use a coarser volume.", code="too_large")
        if section.border == "drop" and cut.at_border and not alone:
            left["at the border"] += 1
        elif size * voxel < section.least_um3:
            left["too small"] += 1
        elif section.most_um3 and size * voxel > section.most_um3:
            left["too large"] += 1
        elif cut.touching > section.most_touching:
            left["touching others"] += 1
        else:
            kept.append(_largest(cut) if section.keep == "largest" and alone else cut)
    notes = [f"{count} {why}" for why, count in left.items() if count]
    parts = [ndimage.label(cut.mask, _ROUND)[1] for cut in (cuts if alone else kept)]
    if alone and kept and parts[0] > 1:
        what = "the largest is taken" if section.keep == "largest" else "they count as one shape"
        notes.append(f"{parts[0]} separate parts, {what}")
    several = sum(count > 1 for count in parts)
    if not alone and several:
        notes.append(f"{several} labels of several separate parts, each counts as one shape")
    return kept, notes


def _largest(cut: Cut) -> Cut:
    labels, count = ndimage.label(cut.mask, _ROUND)
    sizes = np.bincount(labels.ravel())[1:]
    return (
        cut if count < 2 else Cut(cut.number, cut.box, labels == 1 + int(sizes.argmax()), cut.at_border, cut.touching)
    )


def measure_solid(cut: Cut, spacing: Sequence[float], section: VolumesSection) -> Solid:
    """Describe and measure what was cut out.

    Parameters
    ----------
    spacing : edges of a voxel in um. section : whether it is smoothed, and brought to a volume of 1.
    """
    mask = smoothed(cut.mask, section.smoothing)
    shape = make_shape(mask, spacing, unit=section.size == "unit")
    if len(shape.points) < 2:
        # A single voxel has no shape, but its row has a score: measured as the block that it is.
        measures = rich_measures(np.ones((2, 2, 2), bool), [edge / 2 for edge in shape.spacing])
    else:
        measures = rich_measures(mask, shape.spacing)
    known = {name: float(value) if np.isfinite(value) else 0.0 for name, value in measures.items()}
    return Solid(cut, shape, float(cut.mask.sum() * np.prod(spacing)), known)


def six_of(measures: Sequence[str]) -> list[int]:
    """Places of the six measures of the usual pipeline among all."""
    return [list(measures).index(name) for name in SIX]
