"""Is a cell judged by its own window?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bagscope.engine.card import CallCard
from bagscope.errors import BagscopeError
from bagscope.images.card import IntensityCard, ModelCard, ScaleCard
from bagscope.images.cell_windows import EDGE, cut_windows, judge_windows, refuse_outside
from bagscope.nets.bagnet import BagNet
from bagscope.nets.kraus import KrausNet
from bagscope.nets.pool import make_pooling
from bagscope.ops import intensity, windows


def card(factor):
    return ModelCard(
        task="images",
        classes=("a", "b"),
        several_labels=False,
        none_trained=True,
        channels=("dna", "gfp"),
        network={"name": "kraus"},
        pooling={"name": "noisy_and"},
        grid={"jump": 32, "offset": 31.0, "field": 135, "smallest": 63},
        intensity=IntensityCard(dark=(3.0, 5.0), background=(1.0, 2.0), spread=(4.0, 2.0)),
        scale=ScaleCard(cell_diameter_px=40.0, source="given", factor=factor),
        calls=CallCard(threshold=0.5, confidence=0.6),
        calibration={},
        training={},
        created={},
    )


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 4000, (2, 150, 170)).astype(np.uint16)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return BagNet(KrausNet(2, 2, bias=0.0), make_pooling("noisy_and", 2), 2, none_output=True).eval()


def prepared(pixels, of, margin):
    """Return the whole image, normalised and rescaled, with background round it."""
    learned = intensity.Intensity(of.intensity.dark, of.intensity.background, of.intensity.spread)
    whole = windows.rescale(intensity.apply(torch.from_numpy(pixels), learned), of.scale.factor)
    return torch.nn.functional.pad(whole, [margin] * 4)


@pytest.mark.parametrize("factor", [1.0, 1.4, 0.7])
@pytest.mark.parametrize("centre", [(75.0, 80.0), (0.0, 0.0), (149.0, 3.5), (60.25, 169.0)])
def test_a_window_holds_what_the_prepared_image_has_there_and_background_beyond_it(pixels, factor, centre):
    of, margin = card(factor), 100
    cut = cut_windows(prepared(pixels, of, 0), np.array([centre]), factor)[0]
    whole = prepared(pixels, of, margin)
    top, left = (round(windows.to_scaled(at, factor) - (EDGE - 1) / 2) + margin for at in centre)
    torch.testing.assert_close(cut, whole[:, top : top + EDGE, left : left + EDGE], rtol=1e-5, atol=1e-5)


def test_a_cells_logits_are_those_of_the_network_on_the_isolated_crop(pixels, net):
    centres = np.array([[40.0, 50.0], [100.0, 20.0], [149.0, 169.0]])
    cut = cut_windows(prepared(pixels, card(1.2), 0), centres, 1.2)
    together = judge_windows(net.cell_maps, cut, 2)
    assert together.shape == (3, 2)
    with torch.no_grad():
        alone = torch.cat([net.body(one[None])[:, :, 0, 0] for one in cut])
    assert np.allclose(together, alone.numpy(), rtol=1e-4, atol=1e-5)
    assert np.ptp(together) > 0


def test_a_field_without_cells_has_no_logits(pixels, net):
    cut = cut_windows(prepared(pixels, card(1.0), 0), np.zeros((0, 2)), 1.0)
    assert judge_windows(net.cell_maps, cut, 2).shape == (0, 2)


@pytest.mark.parametrize("centre", [(-0.6, 5.0), (5.0, 169.6), (1e9, 1.0), (float("nan"), 1.0)])
def test_a_cell_outside_the_image_is_refused_with_its_place(centre):
    with pytest.raises(BagscopeError, match=r"cell 2 at y .* outside the image of 150x170"):
        refuse_outside(np.array([(10.0, 10.0), centre]), (150, 170))
