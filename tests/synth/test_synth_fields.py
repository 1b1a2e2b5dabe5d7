"""The truth about a simulated field is the truth about its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bagscope.errors import SettingsError
from bagscope.synth.cells import grow_population, scatter_places
from bagscope.synth.fields import draw_field


def drawn(share=0.5, n_cells=60, seed=0, **settings):
    return draw_field(np.random.default_rng(seed), share, n_cells, **({"px": 288} | settings))


@pytest.fixture(scope="module")
def field():
    return drawn()


def gfp_ratios(field):
    """Nucleus over ring in GFP, cell by cell, measured on the pixels with the true masks."""
    gfp = field.pixels[1].astype(float)
    gfp -= np.percentile(gfp, 1)
    ratios = {}
    for cell in field.cells:
        nucleus = field.nuclei == cell.cell
        wide, near = (ndimage.binary_dilation(nucleus, iterations=n) for n in (5, 1))
        ring = wide & ~near & (field.mask == cell.cell)
        core = ndimage.binary_erosion(nucleus)
        if core.sum() > 10 and ring.sum() > 10:
            ratios[cell.cell] = np.median(gfp[core]) / np.median(gfp[ring])
    return ratios


def test_the_nuclear_share_of_gfp_tells_cells_that_responded_from_those_that_did_not(field):
    ratios = gfp_ratios(field)
    visible = [cell for cell in field.cells if cell.is_visible and cell.cell in ratios]
    positive = np.array([ratios[c.cell] for c in visible if c.responded])
    negative = np.array([ratios[c.cell] for c in visible if not c.responded])
    assert min(len(positive), len(negative)) > 12
    area = np.mean(positive[:, None] > negative[None, :])  # Mann-Whitney: area under the ROC curve
    assert area > 0.98
    assert np.median(negative) < 0.85 < 2 < np.median(positive)


def test_labels_of_the_masks_are_the_cells_of_the_table(field):
    numbers = [cell.cell for cell in field.cells]
    assert numbers == list(range(1, 61))
    assert set(np.unique(field.mask)) == {0, *numbers}
    assert np.all(field.mask[field.nuclei > 0] == field.nuclei[field.nuclei > 0])


def test_the_place_of_a_cell_is_the_centre_of_its_nucleus(field):
    for cell in field.cells:
        if np.any(field.nuclei == cell.cell):
            centre = ndimage.center_of_mass(field.nuclei == cell.cell)
            assert (cell.y, cell.x) == pytest.approx(centre, abs=0.01)


def test_nuclei_are_bright_in_dna_and_dim_outside(field):
    dna = field.pixels[0].astype(float)
    inside, outside = dna[ndimage.binary_erosion(field.nuclei > 0)], dna[field.mask == 0]
    assert np.percentile(inside, 5) > np.percentile(outside, 90)


def test_equal_generators_draw_equal_fields_and_others_do_not(field):
    again, other = drawn(), drawn(seed=1)
    for name in ("pixels", "mask", "nuclei"):
        np.testing.assert_array_equal(getattr(again, name), getattr(field, name))
        assert np.any(getattr(other, name) != getattr(field, name))
    assert again.cells == field.cells


def test_the_same_cells_come_back_at_another_dose(field):
    dosed = drawn(share=0.9)
    np.testing.assert_array_equal(dosed.mask, field.mask)
    np.testing.assert_array_equal(dosed.nuclei, field.nuclei)
    # who responds at a low dose responds at a high one
    assert all(high.responded for low, high in zip(field.cells, dosed.cells, strict=True) if low.responded)
    assert sum(c.responded for c in dosed.cells) > sum(c.responded for c in field.cells)


def test_nobody_responds_at_share_zero_and_everybody_at_one():
    assert not any(cell.responded for cell in drawn(share=0.0, px=160, n_cells=15).cells)
    assert all(cell.responded for cell in drawn(share=1.0, px=160, n_cells=15).cells)


@pytest.mark.parametrize("share", [0.03, 0.4, 0.95])
def test_cells_respond_with_the_share_asked_for_whatever_their_size_and_brightness(share):
    n = 20_000
    cells = population(n, share)
    assert cells.responded.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))
    for trait in (cells.long, cells.dna, cells.expression):
        assert abs(np.corrcoef(trait, cells.responded)[0, 1]) < 4 / np.sqrt(n)


def test_a_cell_keeps_its_reporter_when_it_moves_into_the_nucleus():
    cells = population(500, 0.5)
    volume = 0.35  # of the nucleus, relative to the cytoplasm
    total = cells.cytoplasm() * (1 + volume * cells.ratio)
    np.testing.assert_allclose(total, cells.expression * (1 + volume), rtol=1e-5)


def population(n, share):
    places = np.zeros((n, 2), np.float32)
    return grow_population(
        np.random.default_rng(2),
        places,
        share,
        cell_px=40.0,
        without_reporter=0.1,
        mitotic=0.0,
        direction=np.zeros(n, np.float32),
    )


def test_cells_without_reporter_are_dark_and_said_to_be_invisible():
    field = drawn(without_reporter=1.0, mitotic=0.0, debris=0.0)
    assert not any(cell.is_visible for cell in field.cells)
    gfp = field.pixels[1].astype(float)
    assert gfp[field.mask > 0].mean() < gfp[field.mask == 0].mean() + 40  # a cell with reporter: several hundred


def test_dividing_cells_cannot_be_told_and_are_said_to_be_invisible():
    assert not any(cell.is_visible for cell in drawn(mitotic=1.0, without_reporter=0.0).cells)


def test_cells_are_about_as_large_as_asked():
    field = drawn(n_cells=12, clumping=0.0, mitotic=0.0)
    at_border = set(np.unique(np.concatenate([field.mask[[0, -1]].ravel(), field.mask[:, [0, -1]].ravel()])))
    areas = np.bincount(field.mask.ravel())
    whole = [areas[cell.cell] for cell in field.cells if cell.cell not in at_border]
    assert 34 < np.median(2 * np.sqrt(np.array(whole) / np.pi)) < 50


def test_places_keep_their_distance_and_their_number():
    places = scatter_places(np.random.default_rng(0), 50, 300, spacing=16.0, margin=24.0, clumping=0.8)
    inside = np.all((places >= 0) & (places <= 299), axis=1)
    assert inside.sum() == 50
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert distance[~np.eye(len(places), dtype=bool)].min() >= 16.0


def test_a_full_field_takes_no_more_cells():
    crowded = drawn(px=128, n_cells=500)
    assert 10 < len(crowded.cells) < 100


def test_an_empty_field_is_medium_alone():
    empty = drawn(n_cells=0, debris=0.0, background=20.0)
    assert empty.cells == ()
    assert not empty.mask.any()
    assert not empty.nuclei.any()
    assert empty.pixels.mean() == pytest.approx(100 + 2 * 20, abs=0.3)


def test_an_out_of_focus_field_has_the_same_truth_and_fewer_edges():
    sharp, blurred = drawn(psf_px=1.0, share=0.9), drawn(psf_px=6.0, share=0.9)
    np.testing.assert_array_equal(sharp.mask, blurred.mask)
    edges = [ndimage.gaussian_gradient_magnitude(f.pixels[0].astype(float), 1.5).mean() for f in (sharp, blurred)]
    assert edges[1] < 0.5 * edges[0]


def test_light_dims_pixels_where_the_lamp_is_weak():
    light = np.ones((288, 288), np.float32)
    light[:, :144] = 0.25
    lit = drawn(n_cells=0, debris=0.0, background=100.0, light=light, haze=0.0).pixels.astype(float) - 100
    assert lit[:, :, :130].mean() == pytest.approx(0.25 * lit[:, :, 160:].mean(), rel=0.02)


def test_debris_adds_light_and_no_cells():
    clean, dirty = drawn(n_cells=0, debris=0.0), drawn(n_cells=0, debris=40.0)
    assert dirty.cells == ()
    assert dirty.pixels.max() > clean.pixels.max() + 300


@pytest.mark.parametrize("wrong", [{"share": 1.1}, {"share": -0.1}, {"n_cells": -1}, {"px": 20}])
def test_fields_that_cannot_be_drawn_are_refused(wrong):
    with pytest.raises(SettingsError, match="cannot draw"):
        drawn(**wrong)
