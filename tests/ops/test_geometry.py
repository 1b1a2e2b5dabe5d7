"""Where class-map elements lie, and tiles that change nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bagscope.errors import ImageReadError
from bagscope.nets.kraus import KrausNet
from bagscope.ops.geometry import Layer, grid_of, spans


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return KrausNet(2, 3).eval()


@pytest.mark.parametrize(("pixels", "elements"), [(62, 0), (63, 1), (94, 1), (95, 2), (512, 15), (900, 27)])
def test_the_papers_layout_gives_the_papers_map_sizes(net, pixels, elements):
    assert net.grid.length(pixels) == elements


def test_the_grid_says_what_the_network_does(net):
    with torch.no_grad():
        assert net(torch.zeros(1, 2, 191, 300)).shape[2:] == (net.grid.length(191), net.grid.length(300))
    assert (net.grid.jump, net.grid.offset, net.grid.field, net.grid.smallest) == (32, 31.0, 135, 63)


@pytest.mark.parametrize("element", [(2, 3), (4, 5), (3, 2)])
def test_one_lit_pixel_reaches_exactly_the_elements_whose_field_holds_it(element):
    # All weights positive and no bias: nothing cancels, so influence is seen wherever there is any.
    net = KrausNet(1, 1, batch_norm=False).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.0 if p.ndim == 1 else 0.01)
    grid = net.grid
    half = (grid.field - 1) // 2
    centre = [int(grid.offset + grid.jump * e) for e in element]
    for shift, seen in ((half, True), (half + 1, False), (-half, True), (-half - 1, False)):
        image = torch.zeros(1, 1, 260, 260, dtype=torch.float64, requires_grad=True)
        net(image)[0, 0, element[0], element[1]].backward()
        # max pooling sends its gradient to one of equal inputs, so light the pixel instead of reading the gradient
        lit = torch.zeros(1, 1, 260, 260, dtype=torch.float64)
        lit[0, 0, centre[0] + shift, centre[1]] = 1.0
        with torch.no_grad():
            assert bool(net(lit)[0, 0, element[0], element[1]] > 0) == seen


@pytest.mark.parametrize(
    ("dtype", "limit", "height", "width", "tile"),
    [
        (torch.float64, 1e-12, 700, 531, 5),
        (torch.float64, 1e-12, 420, 260, 1),
        (torch.float64, 1e-12, 63, 900, 4),
        # float32 rounds differently in differently shaped convolutions: tiles of 8 elements and more keep to 1e-6
        (torch.float32, 1e-6, 700, 531, 8),
        (torch.float32, 1e-6, 900, 900, 8),
        (torch.float32, 1e-6, 512, 900, 15),
    ],
)
def test_tiles_give_the_map_of_the_whole_image(dtype, limit, height, width, tile):
    torch.manual_seed(1)
    net = KrausNet(2, 3).eval().to(dtype)
    image = torch.randn(1, 2, height, width, dtype=dtype)
    with torch.no_grad():
        whole = net(image)[0]
        tiled = torch.full_like(whole, torch.nan)
        for r in spans(net.grid, height, tile):
            for c in spans(net.grid, width, tile):
                part = net(image[:, :, r.start : r.stop, c.start : c.stop])[0]
                tiled[:, r.first : r.first + r.count, c.first : c.first + c.count] = part[
                    :, r.skip : r.skip + r.count, c.skip : c.skip + c.count
                ]
    assert float((tiled - whole).abs().max() / whole.abs().max()) <= limit


@settings(max_examples=50, deadline=None, derandomize=True)
@given(n=st.integers(63, 5000), elements=st.integers(1, 70))
def test_pieces_of_an_axis_hold_every_element_once_and_start_in_phase(net, n, elements):
    pieces = spans(net.grid, n, elements)
    covered = [i for p in pieces for i in range(p.first, p.first + p.count)]
    assert covered == list(range(net.grid.length(n)))
    for p in pieces:
        assert p.start % net.grid.jump == 0
        assert net.grid.length(p.stop - p.start) >= p.skip + p.count
        assert p.stop - p.start <= (p.count + 8) * net.grid.jump


def test_an_axis_too_short_for_one_element_is_refused_with_the_size_needed(net):
    with pytest.raises(ImageReadError, match="needs at least 63"):
        spans(net.grid, 62, 4)


def test_grid_of_one_layer_is_that_layer():
    grid = grid_of([Layer(5, 2, 2)])
    assert (grid.jump, grid.offset, grid.field) == (2, 0.0, 5)
    assert grid.centres(7) == [0.0, 2.0, 4.0, 6.0]
