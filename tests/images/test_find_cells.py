"""Are the cells of a field found where they lie, numbered as they were, and judged as the network would alone?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import toys
from bagscope.engine.card import CallCard
from bagscope.engine.loaded import TrainedNetwork
from bagscope.errors import BagscopeError, ModelError, SettingsError
from bagscope.images import cells
from bagscope.images.card import CellCard, IntensityCard, ModelCard, ScaleCard
from bagscope.images.cells import Known, field_maps, find_cells
from bagscope.images.field_view import FieldView
from bagscope.images.nuclear import find_nuclei, nuclear_channel
from bagscope.nets.bagnet import BagNet
from bagscope.nets.kraus import KrausNet
from bagscope.ops.regions import labels_at

CPU = torch.device("cpu")


def card(factor=1.2, cells=True, cell_px=40.0):
    return ModelCard(
        task="images",
        classes=("a", "b"),
        several_labels=False,
        none_trained=True,
        channels=("dna", "gfp"),
        network={"name": "kraus"},
        pooling={"name": "noisy_and"},
        grid={"jump": 32, "offset": 31.0, "field": 135, "smallest": 63},
        intensity=IntensityCard(dark=(100.0, 100.0), background=(0.0, 0.0), spread=(8.0, 8.0)),
        scale=ScaleCard(cell_diameter_px=cell_px, source="given", factor=factor),
        calls=CallCard(threshold=0.5, confidence=0.6),
        cells=CellCard(nuclei="dna", background=1e-4, foreground=1e-2, coupling=1.0, blank_pixels=9) if cells else None,
        calibration={},
        training={},
        created={},
    )


@pytest.fixture(scope="module")
def net():
    return toys.speaking_net()


@pytest.fixture(scope="module")
def drawn():
    """Twelve cells, discs of 32 pixels with nuclei of 14, and their middles."""
    rng = np.random.default_rng(1)
    middles = np.array([(30 + 50 * i, 32 + 55 * j) for i in range(3) for j in range(4)], float)
    middles += rng.uniform(-4, 4, middles.shape)
    y, x = np.mgrid[:160, :240]
    pixels = np.full((2, 160, 240), 100.0)
    for cy, cx in middles:
        away = np.hypot(y - cy, x - cx)
        pixels[0] += 900 / (1 + np.exp((away - 7) / 0.7))
        pixels[1] += 500 / (1 + np.exp((away - 16) / 0.7))
    return rng.poisson(pixels).astype(np.uint16), middles


@pytest.fixture(scope="module")
def view(net, drawn):
    return FieldView(TrainedNetwork(net, card(), CPU), drawn[0], np.array([1.0, -1.0]))


def blank(net, shape=(160, 240)):
    return FieldView(TrainedNetwork(net, card(), CPU), np.full((2, *shape), 100, np.uint16), np.array([-9.0, -9.0]))


def sides(labels, label):
    rows, columns = np.nonzero(labels == label)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def check_table(cells):
    """Every row points to its label, and tells its size and box."""
    table = cells.table
    assert table.label.tolist() == sorted(set(cells.labels[cells.labels > 0].tolist()))
    assert cells.logits.shape == (len(table), 2)
    for at, label in enumerate(table.label):
        assert table.area[at] == (cells.labels == label).sum()
        box = (table.top[at], table.left[at], table.bottom[at], table.right[at])
        assert box == sides(cells.labels, label)


@pytest.mark.parametrize("score", ["window", "map"])
def test_every_nucleus_seeds_a_cell_whose_row_points_to_it(view, drawn, score):
    cells = find_cells(view, "auto", score, Known())
    check_table(cells)
    assert len(cells.table) == 12
    at = labels_at(cells.labels, drawn[1])
    assert sorted(at.tolist()) == list(range(1, 13))
    order = at.astype(int) - 1
    assert np.abs(cells.table.y[order] - drawn[1][:, 0]).max() < 1.5
    assert np.abs(cells.table.x[order] - drawn[1][:, 1]).max() < 1.5
    assert labels_at(cells.labels, np.stack([cells.table.y, cells.table.x], 1)).tolist() == cells.table.label.tolist()


def test_a_cell_is_judged_as_the_network_judges_its_window_alone(view, net):
    cells = find_cells(view, "auto", "window", Known())
    with torch.no_grad():
        for at in (0, 5, 11):
            window = view.windows(np.array([[cells.table.y[at], cells.table.x[at]]]))
            np.testing.assert_allclose(cells.logits[at], net.body(window)[0, :, 0, 0], rtol=1e-4, atol=1e-5)
    assert np.ptp(cells.logits) > 0


def test_cells_have_a_network_of_their_own_where_the_model_has_one(view, net):
    other = KrausNet(2, 2, bias=2.0).eval()
    both = BagNet(net.body, net.pooling, 2, none_output=True, cells=other).eval()
    mine = FieldView(TrainedNetwork(both, card(), CPU), view.pixels, view.log_odds)
    with torch.no_grad():
        cells = find_cells(mine, "auto", "window", Known())
        wanted = other(mine.windows(np.array([[cells.table.y[3], cells.table.x[3]]])))[0, :, 0, 0]
    np.testing.assert_allclose(cells.logits[3], wanted, rtol=1e-4, atol=1e-5)


def test_by_the_map_a_cell_has_the_dense_maps_value_at_its_centre(view):
    cells = find_cells(view, "auto", "map", Known())
    wanted = view.class_logits(cells.table.y, cells.table.x).T
    np.testing.assert_allclose(cells.logits, wanted, rtol=1e-5)


@pytest.mark.parametrize("numbers", [(1, 5, 900_000), (70_000, 3, 255)])
@pytest.mark.parametrize("kind", [np.uint32, np.int64])
def test_the_numbers_of_a_mask_are_kept(view, numbers, kind):
    labels = np.zeros(view.shape, kind)
    for i, number in enumerate(numbers):
        labels[20 + 40 * i : 40 + 40 * i, 30:60] = number
    cells = find_cells(view, "auto", "window", Known(labels=labels))
    check_table(cells)
    np.testing.assert_array_equal(cells.labels, labels)


def test_colours_are_those_of_the_calls(view):
    cells = find_cells(view, "auto", "window", Known())
    for at, label in enumerate(cells.table.label):
        logits = cells.logits[at]
        wanted = int(logits.argmax()) + 1 if logits.max() >= 0 else 0
        assert set(cells.classes[cells.labels == label].tolist()) == {wanted}
    assert not cells.classes[cells.labels == 0].any()


@pytest.mark.parametrize("known", [Known(), Known(np.zeros((160, 240), np.uint8)), Known(centres=np.zeros((0, 2)))])
@pytest.mark.parametrize("score", ["window", "map"])
@pytest.mark.parametrize("nuclei", ["auto", "none"])
def test_a_field_without_cells_has_none(net, known, score, nuclei):
    cells = find_cells(blank(net), nuclei, score, known)
    assert len(cells.table) == 0
    assert cells.logits.shape == (0, 2)
    assert not cells.labels.any()
    assert not cells.classes.any()


def test_cells_at_centres_bear_their_place_in_the_list_and_hold_their_centre(view, drawn):
    centres = drawn[1][::-1]
    cells = find_cells(view, "auto", "window", Known(centres=centres))
    check_table(cells)
    assert cells.table.label.tolist() == list(range(1, 13))
    np.testing.assert_array_equal(np.stack([cells.table.y, cells.table.x], 1), centres)
    assert labels_at(cells.labels, centres).tolist() == list(range(1, 13))


def test_centres_outside_the_image_or_on_one_pixel_are_refused_with_their_place(view):
    with pytest.raises(BagscopeError, match=r"cell 2 at y 10, x 240 lies outside the image of 160x240"):
        find_cells(view, "auto", "window", Known(centres=np.array([[5.0, 5.0], [10.0, 240.0]])))
    with pytest.raises(BagscopeError, match=r"cells 1 and 3 lie on the same pixel, y 5, x 5"):
        find_cells(view, "auto", "window", Known(centres=np.array([[5.0, 5.0], [9.0, 9.0], [5.2, 4.9]])))


def test_ten_thousand_cells_in_a_field_are_judged(net):
    labels = np.arange(100 * 100).reshape(100, 100).repeat(2, 0).repeat(2, 1) + 1
    cells = find_cells(blank(net, labels.shape), "auto", "window", Known(labels=labels))
    assert len(cells.table) == 10_000
    assert np.isfinite(cells.logits).all()


def test_without_a_nuclear_channel_cells_are_the_parts_of_the_class_masks(view):
    cells = find_cells(view, "none", "window", Known())
    check_table(cells)
    assert len(cells.table) > 0
    for label in cells.table.label:
        assert len(set(cells.classes[cells.labels == label].tolist())) == 1
    assert cells.classes[cells.labels > 0].all()


def test_a_model_that_knows_nothing_of_cells_and_a_channel_that_is_not_there_are_refused(net, view):
    with pytest.raises(ModelError, match="knows nothing of cells"):
        find_cells(
            FieldView(TrainedNetwork(net, card(cells=False), CPU), view.pixels, view.log_odds),
            "auto",
            "window",
            Known(),
        )
    with pytest.raises(SettingsError, match="no such channel"):
        find_cells(view, "dapi", "window", Known())


def test_maps_of_a_field_have_its_size_and_say_what_they_are(view):
    maps, names = field_maps(view)
    assert maps.shape == (5, 160, 240)
    assert maps.dtype == np.float32
    assert names == ["jacobian:a", "jacobian:b", "class:a", "class:b", "foreground"]
    assert maps.min() >= 0
    assert maps[2:].max() <= 1


@pytest.mark.parametrize(
    ("channels", "wanted", "found"),
    [
        (("gfp", "dna"), "auto", "dna"),
        (("DAPI", "w2"), "auto", "DAPI"),
        (("Hoechst_33342", "er"), "auto", "Hoechst_33342"),
        (("w1_nuclei", "w2"), "auto", "w1_nuclei"),
        (("nuclei", "dapi"), "auto", ""),  # two of them: nobody knows which
        (("gfp", "rfp"), "auto", ""),
        (("mitochondria", "nucleolus"), "auto", ""),
        (("mtdna", "pronuclei"), "auto", ""),
        (("gfp", "rfp"), "rfp", "rfp"),
        (("gfp", "dna"), "none", ""),
    ],
)
def test_the_nuclear_channel_is_known_by_its_name_or_named(channels, wanted, found):
    assert nuclear_channel(wanted, channels) == found


def test_an_unknown_nuclear_channel_is_refused_with_the_nearest():
    with pytest.raises(SettingsError, match=r"did you mean 'dapi'"):
        nuclear_channel("dappi", ("dapi", "gfp"))


@pytest.mark.parametrize("larger", [1 / 3, 1, 3])
def test_nuclei_are_found_at_any_magnification(drawn, larger):
    grey = drawn[0][0][:159, :240].astype(float)
    field = np.kron(grey, np.ones((3, 3))) if larger == 3 else grey
    if larger < 1:
        field = grey.reshape(53, 3, 80, 3).mean((1, 3))
    found = find_nuclei(field, 40.0 * larger)
    assert found.shape == field.shape
    places = (drawn[1] + 0.5) * larger - 0.5
    assert len(set(labels_at(found, places).tolist()) - {0}) == found.max() == 12


def test_nuclei_of_an_enlarged_field_lie_where_the_pixels_were_enlarged_to(drawn):
    grey = drawn[0][0][:159, :240].astype(float)
    small, large = find_nuclei(grey, 40.0), find_nuclei(np.kron(grey, np.ones((3, 3))), 120.0)
    middles = [np.argwhere(labels > 0).mean(0) for labels in (small, large)]
    assert middles[1] == pytest.approx((middles[0] + 0.5) * 3 - 0.5, abs=0.4)


def test_a_cell_reaches_no_farther_from_its_seed_than_a_cell_is_wide(monkeypatch):
    monkeypatch.setattr(cells, "called", lambda view, labels, table, score: labels)
    seeds = np.zeros((40, 90), np.int32)
    seeds[20, 10] = 1
    labels = cells.seeded_cells(SimpleNamespace(cell_px=12.0), seeds, np.ones(seeds.shape, bool), "map")
    y, x = np.nonzero(labels)
    assert np.hypot(y - 20, x - 10).max() == pytest.approx(12)
    unknown = cells.seeded_cells(SimpleNamespace(cell_px=None), seeds, np.ones(seeds.shape, bool), "map")
    assert (unknown == 1).all()
