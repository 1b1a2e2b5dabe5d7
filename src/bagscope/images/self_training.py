"""How a network that learned from whole images learns once more, from cells that it is sure of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bagscope.feed.augment import Augmentation, draw
from bagscope.feed.orders import rng_for
from bagscope.images.cell_windows import EDGE
from bagscope.ops import windows

# Room round a window for shifts and changes of scale.
MARGIN = 16
LARGE = EDGE + 2 * MARGIN


@dataclass(frozen=True)
class OwnLabels:
    """Which cells a network is sure of: (N,) positions, and (N, K) targets, all 0 for `none`."""

    positions: np.ndarray
    targets: np.ndarray


def own_labels(probability: np.ndarray, sure: float, rejected: float) -> OwnLabels:
    """Label cells by the network's own probabilities where these leave no doubt.

    A cell is of class k when p_k > `sure` and all others are < `rejected`; of none when all are < `rejected`;
    else it is left out.

    Parameters
    ----------
    probability : (N, K).
    """
    low, high = probability < rejected, probability > sure
    return _labelled(high, (high.sum(1) == 1) & (low | high).all(1), np.all(low, axis=1))


def labels_within(probability: np.ndarray, target: np.ndarray, sure: float, rejected: float) -> OwnLabels:
    """Label the cells of one image by the network's probabilities, but only with what the image's own label allows.

    A bag in which a class is absent holds no instance of it (Dietterich et al., Artificial Intelligence 89 (1997) 31):
    a cell is of class k when k is the only class of the image's label with p_k > `sure`; of none when all of the
    label's are < `rejected`, and in an image labelled `none` always; else it is left out.

    Parameters
    ----------
    probability : (N, K). target : (K,) 0 or 1, the image's label.
    """
    allowed = np.where(target > 0, probability, 0.0)
    high = allowed > sure
    none = np.all(allowed < rejected, axis=1) if target.any() else np.ones(len(probability), bool)
    return _labelled(high, high.sum(1) == 1, none)


def _labelled(high: np.ndarray, clear: np.ndarray, none: np.ndarray) -> OwnLabels:
    """Label the cells that are clear with their high class, those of none with none; the others are left out."""
    chosen = np.flatnonzero(clear | none)
    return OwnLabels(chosen, (high[chosen] & clear[chosen, None]).astype(np.float32))


@dataclass(frozen=True)
class CellCrops:
    """Windows of cells with room round them, and what the network said of each.

    large : (N, C, 96, 96) rescaled and normalised. others : (N, 96, 96) bool, where other cells lie.
    targets : (N, K). Classes, and none, are drawn equally often.
    share_alone : of the windows in which all other cells are blanked out.
    mix : share of windows that are mixtures of two cells in any proportion, and so are their targets: cells between
        two classes are in no control, and without mixtures each network puts its boundary somewhere else.
        Source: Zhang et al., mixup, ICLR 2018.
    """

    large: Tensor
    others: Tensor
    targets: np.ndarray
    ranges: Augmentation
    jitter: float
    share_alone: float
    seed: int
    mix: float = 0.0

    def pools(self) -> list[np.ndarray]:
        """Positions of the cells of each class and of none; empty ones are left out."""
        members = [np.flatnonzero(self.targets[:, k] > 0) for k in range(self.targets.shape[1])]
        members.append(np.flatnonzero(self.targets.sum(1) == 0))
        return [found for found in members if len(found)]

    def step(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Return the windows (S, C, 64, 64) and targets (S, K) of one step, the same whenever it is asked."""
        pools, rng = self.pools(), rng_for(self.seed, 7, step)
        cut, targets = [], []
        for item in range(size):
            pool = pools[item % len(pools)]
            at = int(pool[rng.integers(len(pool))])
            change = draw(rng, self.ranges, self.large.shape[1])
            shift = rng.normal(0, self.jitter, 2)
            whole = self.large[at]
            if rng.random() < self.share_alone:
                whole = whole.masked_fill(self.others[at], 0)
            x = _window(whole, change.scale, shift)
            gains = torch.tensor(change.gains, dtype=x.dtype, device=x.device)
            cut.append(windows.dihedral(x * gains[:, None, None], change.code))
            targets.append(self.targets[at])
        x, wanted = torch.stack(cut), torch.from_numpy(np.stack(targets)).to(cut[0].device)
        if self.mix:
            own = np.where(rng.random(size) < self.mix, rng.random(size), 1.0).astype(np.float32)
            share, partner = torch.from_numpy(own).to(x.device), torch.from_numpy(rng.permutation(size))
            x = torch.lerp(x[partner], x, share[:, None, None, None])
            wanted = torch.lerp(wanted[partner], wanted, share[:, None])
        return x.contiguous(memory_format=torch.channels_last), wanted


def _window(large: Tensor, scale: float, shift: np.ndarray) -> Tensor:
    """Cut 64 pixels out of the middle of a larger window that is rescaled and shifted a little."""
    side = windows.scaled_length(LARGE, scale)
    corners = [round((side - EDGE) / 2 + float(s)) for s in shift]
    corners = [min(max(0, c), max(0, side - EDGE)) for c in corners]
    rows, y0, y1 = windows.taps(LARGE, scale, corners[0], corners[0] + EDGE)
    columns, x0, x1 = windows.taps(LARGE, scale, corners[1], corners[1] + EDGE)
    return windows.interpolate(large[:, y0:y1, x0:x1], rows, columns)


def train_on_own_labels(
    net: nn.Module,
    crops: CellCrops,
    *,
    steps: int,
    size: int,
    rate: float,
    bf16: bool,
    progress: Callable[[int, int, float], None],
) -> None:
    """Go on training a network on cells, each a bag of one: sum over classes of BCE(z, target).

    Parameters
    ----------
    net : (S, C, 64, 64) to logits (S, K, 1, 1); it is changed, and left in evaluation mode.
    progress : called after each step with steps done, all steps, and the loss.
    """
    device = next(net.parameters()).device
    optimiser = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1)
    net.train()
    for step in range(steps):
        torch.manual_seed(int(np.random.SeedSequence([crops.seed, 8, step]).generate_state(1)[0]))
        x, targets = crops.step(step, size)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = net(x)[:, :, 0, 0]
        loss = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        progress(step + 1, steps, loss.item())
    net.eval()
