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
    if elements:
        with torch.no_grad():
            assert net(torch.zeros(1, 2, pixels, 63)).shape == (1, 3, elements, 1)
            assert net(torch.zeros(1, 2, 63, pixels)).shape == (1, 3, 1, elements)


def test_the_grid_says_what_the_network_does(net):
    with torch.no_grad():
        assert net(torch.zeros(1, 2, 191, 300)).shape[2:] == (net.grid.length(191), net.grid.length(300))
    assert (net.grid.jump, net.grid.offset, net.grid.field, net.grid.smallest) == (32, 31.0, 135, 63)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_one_lit_pixel_reaches_exactly_the_elements_whose_field_holds_it(batch_norm):
    # All weights positive and no bias: nothing cancels, so influence is seen wherever there is any.
    net = KrausNet(1, 1, batch_norm=batch_norm).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.0 if p.ndim == 1 else 0.01)
        for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.weight.fill_(1.0)
    # Sizes of which the poolings leave no pixel out at the end.
    height, width, half = 191, 255, (net.grid.field - 1) // 2
    rows, columns = (torch.tensor(net.grid.centres(n)) for n in (height, width))
    # At both ends of a field and one pixel beyond, in the middle, in the corners and at the edges of the image.
    middle = int(columns[3])
    ends = [middle - half - 1, middle - half, middle + half, middle + half + 1]
    places = [(100, x) for x in ends] + [(y - 32, 130) for y in ends if 0 <= y - 32 < height]
    places += [(0, 0), (height - 1, width - 1), (0, 130), (77, width - 1), (100, 100)]
    images = torch.zeros(len(places), 1, height, width, dtype=torch.float64)
    for at, (y, x) in enumerate(places):
        images[at, 0, y, x] = 1.0
    with torch.no_grad():
        seen = net(images)[:, 0] > 0
    for at, (y, x) in enumerate(places):
        within = ((rows - y).abs() <= half)[:, None] & ((columns - x).abs() <= half)
        assert torch.equal(seen[at], within), (y, x)


@pytest.mark.parametrize(
    ("dtype", "limit", "height", "width", "tile"),
    [
        (torch.float64, 1e-12, 700, 531, 5),
        (torch.float64, 1e-12, 420, 260, 1),
        (torch.float64, 1e-12, 63, 900, 4),
        # float32 rounds differently in differently shaped convolutions: tiles of 16 elements and more keep to 1e-6
        (torch.float32, 1e-6, 700, 531, 16),
        (torch.float32, 1e-6, 900, 1100, 16),
        (torch.float32, 1e-6, 600, 1100, 25),
    ],
)
def test_tiles_give_the_map_of_the_whole_image(dtype, limit, height, width, tile):
    torch.manual_seed(1)
    net = KrausNet(2, 3, bias=0.0).eval().to(dtype)
    torch.nn.init.normal_(net.classifier.weight, std=0.2)  # logits that differ from place to place
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
