"""Does a field have the same score in tiles and whole, rescaled or not, and read in any portions?"""

import numpy as np
import pytest
import torch

from bagscope.engine.card import CallCard
from bagscope.engine.loaded import TrainedNetwork
from bagscope.errors import ImageReadError
from bagscope.images.card import IntensityCard, ModelCard, ScaleCard
from bagscope.images.scoring import FieldPixels, element_centres, score_field
from bagscope.images.task import build_network, intensity_of
from bagscope.nets.bagnet import BagNet
from bagscope.ops import geometry, intensity, windows

CPU = torch.device("cpu")
WHOLE = 10**6
NETWORK = {"name": "kraus", "batch_norm": True, "dropout_pool": 0.0, "dropout_last": 0.2, "bias": 0.0}


def card(factor=1.0, **changes):
    return ModelCard(
        task="images",
        classes=("x", "y"),
        several_labels=False,
        none_trained=True,
        channels=("dna", "gfp"),
        network=NETWORK,
        pooling={"name": "noisy_and", "a": 10.0, "b": 0.1, "r": 1.0},
        grid={"jump": 32, "offset": 31, "field": 135, "smallest": 63},
        intensity=IntensityCard(dark=(90.0, 40.0), background=(2.0, 1.0), spread=(6.0, 3.0)),
        scale=ScaleCard(cell_diameter_px=30, source="given", factor=factor),
        calls=CallCard(threshold=0.5, confidence=0.6),
        calibration={},
        training={},
        created={},
        **changes,
    )


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = build_network(card())
    torch.nn.init.normal_(net.body.classifier.weight, std=0.2)  # maps that differ from place to place
    with torch.no_grad():  # and normalisations that have something to do
        for _ in range(10):
            net.maps(torch.randn(4, 2, 127, 127).exp())
    return net.eval()


def counts(h, w, seed=0):
    return np.random.default_rng(seed).poisson(300, (2, h, w)).astype(np.uint16)


def reader(pixels, asked=None):
    def read(y0, y1, x0, x1):
        if asked is not None:
            asked.append((y0, y1, x0, x1))
        return pixels[:, y0:y1, x0:x1]

    return read


def scored(net, pixels, tile, factor=1.0, asked=None):
    return score_field(
        TrainedNetwork(net, card(factor), CPU), FieldPixels(reader(pixels, asked), pixels.shape[1:]), tile
    )


@pytest.mark.parametrize(
    ("height", "width", "factor", "tile"),
    [(640, 900, 1.0, 16), (900, 640, 1.0, 17), (700, 900, 0.8, 16), (300, 500, 2.0, 16), (230, 400, 2.37, 17)],
)
def test_a_tiled_field_has_the_maps_and_scores_of_the_whole(net, height, width, factor, tile):
    pixels, asked = counts(height, width), []
    whole, tiled = scored(net, pixels, WHOLE, factor), scored(net, pixels, tile, factor, asked)
    assert len(asked) > 1
    # What float32 rounds otherwise in convolutions of another shape, as a share of the largest value.
    assert np.abs(tiled.maps - whole.maps).max() <= 1e-6 * np.abs(whole.maps).max()
    assert tiled.log_odds == pytest.approx(whole.log_odds, rel=1e-5, abs=1e-5)
    assert tiled.head == pytest.approx(whole.head, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("factor", [1.0, 0.37, 0.8, 1.9])
def test_tiles_are_exact_in_float64_also_where_the_field_is_rescaled(net, factor):
    body = build_network(card()).double().eval().body
    body.load_state_dict(net.body.state_dict())
    pixels = torch.from_numpy(counts(int(230 / factor), int(300 / factor)).astype(np.float64))
    with torch.no_grad():
        whole = body(windows.rescale(pixels, factor)[None])[0]
        tiled = torch.full_like(whole, torch.nan)
        sizes = [windows.scaled_length(n, factor) for n in pixels.shape[1:]]
        rows, columns = (geometry.spans(body.grid, n, 3) for n in sizes)
        for r in rows:
            for c in columns:
                (ys, y0, y1), (xs, x0, x1) = (
                    windows.taps(n, factor, s.start, s.stop) for n, s in zip(pixels.shape[1:], (r, c), strict=True)
                )
                part = body(windows.interpolate(pixels[:, y0:y1, x0:x1], ys, xs)[None])[0]
                tiled[:, r.first : r.first + r.count, c.first : c.first + c.count] = part[
                    :, r.skip : r.skip + r.count, c.skip : c.skip + c.count
                ]
    assert len(rows) > 1
    assert float((tiled - whole).abs().max() / whole.abs().max()) <= 1e-12


@pytest.mark.parametrize("factor", [1.0, 0.8, 1.7])
def test_the_score_is_the_networks_of_the_normalised_and_rescaled_image(net, factor):
    pixels = counts(230, 310)
    found = scored(net, pixels, WHOLE, factor)
    x = windows.rescale(intensity.apply(torch.from_numpy(pixels), intensity_of(card())), factor)
    with torch.no_grad():
        log_odds, head = net(x[None])
        maps = net.maps(x[None])
    assert found.maps == pytest.approx(maps[0].numpy(), rel=1e-5, abs=1e-5)
    assert found.log_odds == pytest.approx(log_odds[0].numpy(), rel=1e-5, abs=1e-5)
    assert found.head == pytest.approx(head[0].numpy(), rel=1e-5, abs=1e-5)
    assert found.log_odds.shape == (2,)
    assert found.head.shape == (3,)  # two classes and none


def test_another_factor_may_be_given_than_the_cards(net):
    pixels = counts(230, 310)
    given = score_field(TrainedNetwork(net, card(1.0), CPU), FieldPixels.of_array(pixels), WHOLE, factor=1.7)
    assert np.array_equal(given.maps, scored(net, pixels, WHOLE, 1.7).maps)
    assert given.maps.shape != scored(net, pixels, WHOLE, 1.0).maps.shape


@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0])
def test_the_windows_read_lie_in_the_field_are_no_larger_than_a_tile_and_cover_it(net, factor):
    # 16 elements, the field of the last and its halo, each rounded up to the jump; a rescaled pixel has two taps.
    edge = (16 * 32 + 135 + 2 * 32) / factor + 4 / min(1, factor)
    pixels, asked = counts(int(850 / factor), int(700 / factor)), []
    scored(net, pixels, 16, factor, asked)
    covered = np.zeros(pixels.shape[1:], bool)
    for y0, y1, x0, x1 in asked:
        assert 0 <= y0 < y1 <= pixels.shape[1]
        assert 0 <= x0 < x1 <= pixels.shape[2]
        assert max(y1 - y0, x1 - x0) <= edge
        covered[y0:y1, x0:x1] = True
    assert covered.mean() > 0.9  # what the poolings leave out at the end is less than an element


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_the_same_counts_in_any_type_have_the_same_score(net, dtype):
    pixels = np.minimum(counts(130, 200), 255)
    wanted = scored(net, pixels, WHOLE)
    found = scored(net, pixels.astype(dtype), WHOLE)
    assert np.array_equal(found.maps, wanted.maps)


def test_a_score_depends_on_no_field_before_and_on_no_shared_chance(net):
    pixels = counts(130, 200)
    alone = scored(net, pixels, WHOLE)
    torch.manual_seed(99)
    scored(net, counts(300, 100, seed=5), WHOLE)
    again = scored(net, pixels, WHOLE)
    assert np.array_equal(again.maps, alone.maps)
    assert np.array_equal(again.log_odds, alone.log_odds)


@pytest.mark.parametrize("value", [0, 300, 65535])
def test_a_constant_field_has_finite_scores(net, value):
    found = scored(net, np.full((2, 100, 100), value, np.uint16), WHOLE)
    assert np.isfinite([*found.log_odds, *found.head]).all()


@pytest.mark.parametrize(("height", "width", "factor"), [(62, 300, 1.0), (300, 62, 1.0), (100, 100, 0.5), (1, 1, 1.0)])
def test_a_field_too_small_for_the_network_is_refused_before_it_is_read(net, height, width, factor):
    asked = []
    with pytest.raises(ImageReadError, match="needs at least 63") as refused:
        scored(net, counts(height, width), WHOLE, factor, asked)
    assert refused.value.problem.code == "too_small"
    assert asked == []


def test_a_score_that_is_no_number_is_refused(net):
    pixels = counts(100, 100).astype(np.float32)
    pixels[0, 50, 50] = np.nan
    with pytest.raises(ImageReadError, match="not finite") as refused:
        scored(net, pixels, WHOLE)
    assert refused.value.problem.code == "non_finite_score"


@pytest.mark.parametrize("factor", [1.0, 0.8, 1.6])
def test_an_elements_centre_is_where_a_spot_moves_it_most(factor):
    plain = BagNet(build_network(card()).body, torch.nn.Identity(), 2, True).eval()
    with torch.no_grad():  # all weights positive: a spot is seen by all elements whose field holds it
        for p in plain.body.parameters():
            p.fill_(0.0 if p.ndim == 1 else 0.01)
        for norm in (m for m in plain.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.weight.fill_(1.0)
    shape = (int(420 / factor), int(500 / factor))
    rows, columns = element_centres(plain, card(factor), shape)
    assert len(rows) == plain.body.grid.length(windows.scaled_length(shape[0], factor))
    spot = torch.zeros(2, *shape)
    y, x = round(rows[5]), round(columns[7])
    spot[:, y, x] = 1000.0
    with torch.no_grad():
        seen = plain.maps(windows.rescale(spot, factor)[None])[0, 0]
    assert seen.shape == (len(rows), len(columns))
    lit = np.argwhere(seen.numpy() > 0)
    # The elements that see it lie round it on both sides, as far as half a field.
    assert rows[lit[:, 0]].mean() == pytest.approx(y, abs=16 / factor)
    assert columns[lit[:, 1]].mean() == pytest.approx(x, abs=16 / factor)
    assert np.abs(rows[lit[:, 0]] - y).max() <= (67 + 1.5) / factor + 1


def test_a_pooling_by_attention_gives_tiles_the_scores_of_the_whole_and_maps_of_classes_alone():
    own = card().model_copy(update={"pooling": {"name": "attention"}})
    torch.manual_seed(1)
    model, pixels = TrainedNetwork(build_network(own).eval(), own, CPU), counts(230, 260)
    whole, tiled = (score_field(model, FieldPixels.of_array(pixels), tile) for tile in (WHOLE, 3))
    assert len(whole.maps) == len(own.classes)
    assert tiled.log_odds == pytest.approx(whole.log_odds, abs=1e-4)
    assert tiled.head == pytest.approx(whole.head, abs=1e-4)
