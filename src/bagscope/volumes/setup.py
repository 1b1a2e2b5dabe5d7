"""From shapes and labels to a task that can be trained, and to what judges shapes afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bagscope.classical.regression import Linear, fit_linear
from bagscope.engine.card import CallCard
from bagscope.nets import SHAPE_NETWORKS
from bagscope.nets.pool import make_pooling
from bagscope.nets.shape_judge import ShapeJudge, blend
from bagscope.settings.jobs import ShapesReadJob, VolumesJob
from bagscope.settings.shape_sections import BagsSection, TurnsSection, VolumesSection
from bagscope.tables.labels import Vocabulary
from bagscope.volumes.card import SHAPES_VERSION, ShapesCard, VoxelGridCard
from bagscope.volumes.rows import reading_of_model
from bagscope.volumes.samples import Bags
from bagscope.volumes.shapes import Shape, on_voxel_grid, refuse_huge, voxel_grid_of
from bagscope.volumes.solids import Solid
from bagscope.volumes.task import VolumesTask, build_network, rotations_of_card, voxel_grid_of_card

__all__ = [
    "ShapePredictions",
    "build_network",
    "embeddings",
    "fit_measures",
    "judge_bags",
    "make_task",
    "measures_of",
    "set_measures",
    "shape_logits",
]

# Shapes that go through the network at once.
_AT_ONCE = 32
# Poses that embeddings are averaged over.
_DESCRIBED = 4


def prepare(job: ShapesReadJob, card: ShapesCard | None = None) -> ShapesReadJob:
    """Refuse an unknown network or pooling, or shapes that the model would embed otherwise; see `engine.tasks.Stages`.

    Raises
    ------
    SettingsError : unknown name, a parameter outside its range, or another reading than in training.
    """
    if isinstance(job, VolumesJob):
        SHAPE_NETWORKS.load(job.network.name)
        make_pooling(classes=1, **job.pooling.model_dump())
    elif card is not None:
        reading_of_model(card, job)
    return job


@dataclass(frozen=True)
class TrainingBags:
    """Bags of shapes to train and to validate on.

    measures : names of the measures of a shape. spacings : of the training volumes.
    """

    train: Bags
    validation: Bags | None
    measures: Sequence[str]
    spacings: Sequence[tuple[float, float, float]]


def make_task(job: VolumesJob, classes: Vocabulary, bags: TrainingBags, device: torch.device) -> VolumesTask:
    """Make the task of bags of shapes."""
    shapes = [shape for bag in bags.train.shapes for shape in bag]
    lattice = voxel_grid_of(shapes, job.network.cells)
    for shape in shapes:
        refuse_huge(shape, lattice)
    card = ShapesCard(
        task=job.task,
        classes=classes.classes,
        several_labels=classes.several,
        none_trained=classes.none,
        network=job.network.model_dump(),
        pooling=job.pooling.model_dump(),
        calls=CallCard(threshold=job.calls.threshold, confidence=job.calls.confidence),
        described=SHAPES_VERSION,
        volumes=VolumesSection(**job.volumes.model_dump()),
        turns=TurnsSection(**job.turns.model_dump()),
        bags=BagsSection(**job.bags.model_dump()),
        lattice=VoxelGridCard(cell=lattice.cell, depth=lattice.depth, thickness=lattice.thickness),
        measures=tuple(bags.measures),
        use=job.measures.use,
        spacings=tuple(sorted(set(bags.spacings))),
        training={"steps": job.training.steps, "seed": job.seed},
        created={},
    )
    return VolumesTask(job, card, bags.train, bags.validation, device)


def fit_measures(
    measures: np.ndarray, targets: np.ndarray, groups: np.ndarray, card: ShapesCard, strength: float, seed: int
) -> Linear:
    """Fit the regression beside the network on bags' mean measures.

    Parameters
    ----------
    measures : (B, M). targets : (B, K), all 0 where no class applies. groups : (B,) groups that are never cut.
    """
    if card.several_labels:
        has_class = (targets > 0).astype(int)
        fits = [fit_linear(measures, column, groups, 2, strength, seed) for column in has_class.T]
        weight = np.stack([fit.weight[1] - fit.weight[0] for fit in fits])
        bias = np.array([fit.bias[1] - fit.bias[0] for fit in fits])
        return replace(fits[0], weight=weight, bias=bias)
    number = np.where(targets.sum(1) > 0, targets.argmax(1), targets.shape[1])
    return fit_linear(measures, number, groups, len(card.outputs), strength, seed)


def set_measures(judge: ShapeJudge, linear: Linear) -> None:
    """Give a judge the regression."""
    for name in ("low", "high", "mean", "scale", "weight", "bias"):
        getattr(judge.measures, name).copy_(torch.from_numpy(np.ascontiguousarray(getattr(linear, name))))


@dataclass(frozen=True)
class ShapePredictions:
    """Log-odds (B, K) and log-probabilities (B, O) of bags: by what the card says, by the network, by measures."""

    log_odds: np.ndarray
    head: np.ndarray
    network: np.ndarray
    measures: np.ndarray


@torch.no_grad()
def shape_logits(
    judge: ShapeJudge, card: ShapesCard, shapes: Sequence[Shape], device: torch.device, turn: np.ndarray | None = None
) -> Tensor:
    """Logits of shapes (N, K) by the network, the mean over the poses of the card.

    Parameters
    ----------
    turn : (3, 3) rotation about their middles that the shapes come in, before each pose.
    """
    turns, lattice = rotations_of_card(card), voxel_grid_of_card(card)
    poses = turns.evaluation()
    if turn is not None:
        poses = [replace(pose, matrix=pose.matrix @ turn) for pose in poses]
    found = []
    for first in range(0, len(shapes), _AT_ONCE):
        own = shapes[first : first + _AT_ONCE]
        total = torch.zeros(len(own), len(card.classes), device=device)
        for pose in poses:
            sites, features = on_voxel_grid(own, [pose] * len(own), lattice)
            total += judge.shapes(features.to(device), sites.to(device))
        found.append(total / len(poses))
    return torch.cat(found)


@torch.no_grad()
def embeddings(judge: ShapeJudge, card: ShapesCard, shapes: Sequence[Shape], device: torch.device) -> np.ndarray:
    """What the network describes shapes by before it judges them, (N, D), the mean over a few poses."""
    turns, lattice = rotations_of_card(card), voxel_grid_of_card(card)
    poses, found = turns.evaluation(min(_DESCRIBED, turns.views)), []
    for first in range(0, len(shapes), _AT_ONCE):
        own = shapes[first : first + _AT_ONCE]
        told = []
        for pose in poses:
            sites, features = on_voxel_grid(own, [pose] * len(own), lattice)
            told.append(judge.net.body.embed(features.to(device), sites.to(device)))  # type: ignore[operator]
        found.append(torch.stack(told).mean(0).cpu().numpy())
    return np.concatenate(found)


@torch.no_grad()
def judge_bags(
    judge: ShapeJudge, card: ShapesCard, logits: Tensor, measures: np.ndarray, lengths: Sequence[int]
) -> ShapePredictions:
    """Judge bags of shapes.

    Parameters
    ----------
    logits : (N, K) of shapes, see `shape_logits`. measures : (N, M). lengths : (B,) shapes of each bag.
    """
    counts = torch.as_tensor(list(lengths), device=logits.device)
    by_network = judge.by_network(logits, counts)
    means = np.stack([part.mean(0) for part in _split(measures, lengths)])
    by_measures = judge.by_measures(torch.from_numpy(means).to(logits.device))
    used = {"network": by_network, "measures": by_measures}.get(card.use)
    used = blend(by_network, by_measures) if used is None else used
    arrays = [one.double().cpu().numpy() for one in (*used, by_network[1], by_measures[1])]
    return ShapePredictions(*arrays)


def _split(values: np.ndarray, lengths: Sequence[int]) -> Iterator[np.ndarray]:
    ends = np.cumsum(lengths)
    yield from (values[end - count : end] for end, count in zip(ends, lengths, strict=True))


def measures_of(solids: Sequence[Solid]) -> np.ndarray:
    """Measures of shapes, (N, M)."""
    return np.array([list(solid.measures.values()) for solid in solids], float)
