"""What a judge says of the solids of a volume: a table with a row each, and the volume as their bag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from bagscope.nets.shape_judge import ShapeJudge
from bagscope.tables.calls import CallRule, make_calls
from bagscope.tables.probabilities import log_softmax, probabilities
from bagscope.volumes.card import ShapesCard
from bagscope.volumes.setup import judge_bags, measures_of, shape_logits
from bagscope.volumes.shapes import refuse_huge
from bagscope.volumes.solids import Solid
from bagscope.volumes.task import voxel_grid_of_card


@dataclass(frozen=True)
class Bag:
    """Scores of a volume, and the outputs of its shapes.

    log_odds : (K,). head : (O,) of the last layer. probability : (O,).
    logits : (N, K) of its shapes by the network. measures : (N, M) of its shapes.
    """

    log_odds: np.ndarray
    head: np.ndarray
    probability: np.ndarray
    logits: np.ndarray
    measures: np.ndarray


def judged_solids(
    judge: ShapeJudge,
    card: ShapesCard,
    solids: Sequence[Solid],
    device: torch.device,
    turn: np.ndarray | None = None,
) -> tuple[pd.DataFrame, Bag]:
    """Judge every solid by itself, and all of them as one bag.

    Where each shape had its own label in training, a volume is the mean of its shapes; else their bag is judged as in
    training.

    Parameters
    ----------
    turn : (3, 3) rotation that the solids come in, each about its middle; their measures do not know of it.

    Raises
    ------
    ImageReadError : a solid far larger than those of the training.
    """
    lattice = voxel_grid_of_card(card)
    for solid in solids:
        refuse_huge(solid.shape, lattice)
    logits = shape_logits(judge, card, [solid.shape for solid in solids], device, turn)
    measures = measures_of(solids)
    each = judge_bags(judge, card, logits, measures, [1] * len(solids))
    if card.bags.by == "shape":
        # log_softmax as in `tables.levels.aggregate`: redundant, but the last digits of scores depend on it.
        head = each.head if card.several_labels else log_softmax(each.head)
        bag = each.log_odds.mean(0), head.mean(0)
    else:
        bag = judged_together(judge, card, logits, measures)
    none = card.none_trained
    single = probabilities(each.log_odds, each.head, card.several_labels, none)
    rule = CallRule(card.calls.threshold, card.calls.confidence)
    calls, sure = make_calls(
        single.mil, single.head, card.classes, none_probability=single.none, several=card.several_labels, rule=rule
    )
    columns: dict[str, object] = {}
    geometry = pd.DataFrame([solid.as_dict() for solid in solids])
    geometry["cell"] = geometry["cell"].astype(np.int64)
    for k, name in enumerate(card.outputs):
        columns[f"probability:{name}"] = single.head[:, k] if k < len(card.classes) else single.none
    for method, values in (("network", each.network), ("measures", each.measures)):
        shown = 1 / (1 + np.exp(-values)) if card.several_labels else np.exp(log_softmax(values))
        columns |= {f"{method}:{name}": shown[:, k] for k, name in enumerate(card.outputs)}
    columns |= {"call": calls, "confidence": sure}
    of_bag = probabilities(bag[0][None], bag[1][None], card.several_labels, none)
    probability = np.concatenate([of_bag.head[0], of_bag.none if of_bag.none is not None else np.empty(0)])
    bag_of = Bag(bag[0], bag[1], probability[: len(card.outputs)], logits.cpu().numpy(), measures)
    return pd.concat([geometry, pd.DataFrame(columns)], axis=1), bag_of


def judged_together(
    judge: ShapeJudge, card: ShapesCard, logits: torch.Tensor, measures: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Judge shapes as one bag, as in training: log-odds (K,) and the last layer's (O,).

    Parameters
    ----------
    logits : (N, K) by the network. measures : (N, M).
    """
    whole = judge_bags(judge, card, logits, measures, [len(measures)])
    return whole.log_odds[0], whole.head[0]
