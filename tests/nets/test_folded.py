"""Does a network whose batch norms are folded say the same, and is the network itself left as it was?"""

import torch

from bagscope.nets.folded import folded
from bagscope.nets.unet import UNet


def test_a_folded_network_says_the_same_and_leaves_the_other_alone():
    torch.manual_seed(0)
    network = UNet(3, 2, (4, 8, 16))
    torch.nn.init.normal_(network.last.weight)
    for _ in range(3):
        network(torch.randn(2, 3, 32, 32) * 2 + 1)  # so that the norms have something to undo
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        quick, slow = folded(network)(x), network(x)
    assert slow.std() > 0.1
    torch.testing.assert_close(quick, slow, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded(network).modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert (folded(network).multiple, folded(network).reach) == (network.multiple, network.reach)


def test_a_network_that_is_training_is_not_folded():
    network = UNet(1, 2, (4, 8))
    assert folded(network) is network
