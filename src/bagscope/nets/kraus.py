"""The fully convolutional network of Kraus, Ba and Frey: images in, one class map per class out."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import relu_

from bagscope.nets.folded import normalised_convolution
from bagscope.nets.jacobian import RectifiedReLU
from bagscope.ops.geometry import Grid, Layer, grid_of

# (kind, kernel, output channels): layout of Kraus et al. 2016, figure 1; every pooling has stride 2.
TRUNK = (
    ("average", 3, 0),
    ("convolution", 3, 32),
    ("convolution", 3, 64),
    ("maximum", 3, 0),
    ("convolution", 5, 64),
    ("maximum", 3, 0),
    ("convolution", 3, 128),
    ("maximum", 3, 0),
    ("convolution", 3, 128),
    ("maximum", 3, 0),
    ("convolution", 1, 1000),
)


class KrausNet(nn.Module):
    """Class maps (S, K, h, w) of logits from images (S, C, H, W).

    Convolutions pad with zeros and keep the size; the five poolings halve it without padding. An
    element of the class map lies every 32 pixels and sees 135; 63 to 94 pixels give one element.

    Parameters
    ----------
    channels, classes : C and K.
    batch_norm : normalise after each hidden convolution (removes the plateau of the plain recipe).
    dropout_pool, dropout_last : share of dropped features after each max pooling and before the last
        convolution; Kraus et al. used .2 and .5.
    bias : start of the last layer's bias; about the logit of the learned share, so that bags start near
        the middle of the pooling's rise.
    scores : have `instances` give every element a score as well: its weight in a pooling by attention.

    Source: Kraus, Ba and Frey, Bioinformatics 32 (2016) i52, section 2.2 and figure 1.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        batch_norm: bool = True,
        dropout_pool: float = 0.0,
        dropout_last: float = 0.0,
        bias: float = -3.0,
        scores: bool = False,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        shape: list[Layer] = []
        width = channels
        for kind, kernel, wide in TRUNK:
            if kind == "convolution":
                layers.append(nn.Conv2d(width, wide, kernel, padding=kernel // 2, bias=not batch_norm))
                layers += [nn.BatchNorm2d(wide)] if batch_norm else []
                layers.append(RectifiedReLU())
                shape.append(Layer(kernel, 1, kernel // 2))
                width = wide
            elif kind == "average":
                layers.append(nn.AvgPool2d(kernel, 2))
                shape.append(Layer(kernel, 2))
            else:
                # The largest of rectified values is the rectified largest value, at a quarter of the work.
                layers.insert(-1, nn.MaxPool2d(kernel, 2))
                layers += [nn.Dropout(dropout_pool)] if dropout_pool else []
                shape.append(Layer(kernel, 2))
        layers += [nn.Dropout(dropout_last)] if dropout_last else []
        self.trunk = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(width, classes, 1)
        self.scorer = GatedScore(width) if scores else None
        self.grid: Grid = grid_of(shape)
        self._start(bias)

    def _start(self, bias: float) -> None:
        for module in self.trunk:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, std=0.01)
        if self.classifier.bias is not None:
            nn.init.constant_(self.classifier.bias, bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (S, C, H, W), float, background at 0, to logits (S, K, h, w).

        When its weights get no gradients, a normalisation is multiplied into the convolution before it: the same
        maps up to rounding, with half the memory. Hooks on the trunk's layers are not called then.
        """
        return self.classifier(self._features(images))

    def instances(self, images: Tensor) -> Tensor:
        """Map images to logits with each element's score behind them, (S, K + 1, h, w); logits alone without scores."""
        features = self._features(images)
        logits = self.classifier(features)
        return logits if self.scorer is None else torch.cat([logits, self.scorer(features)], 1)

    def _features(self, images: Tensor) -> Tensor:
        grad = torch.is_grad_enabled()
        if self.training or (grad and any(p.requires_grad for p in self.parameters())):
            return self.trunk(images)
        x = images
        for layer, following in pairwise([*self.trunk, self.classifier]):
            if isinstance(layer, nn.Conv2d):
                x = normalised_convolution(layer, following, x)
            elif isinstance(layer, RectifiedReLU):
                x = layer(x) if grad else relu_(x)
            elif not isinstance(layer, nn.BatchNorm2d):
                x = layer(x)
        return x


class GatedScore(nn.Module):
    """Features (S, F, h, w) to a score for each element, (S, 1, h, w): w . (tanh(V h) * sigmoid(U h)).

    Source: Ilse, Tomczak and Welling, ICML 2018, equation 9.
    """

    def __init__(self, features: int, hidden: int = 128):
        super().__init__()
        self.content, self.gate = nn.Conv2d(features, hidden, 1), nn.Conv2d(features, hidden, 1)
        self.weight = nn.Conv2d(hidden, 1, 1, bias=False)  # a bias would be the same for all elements

    def forward(self, features: Tensor) -> Tensor:
        """Weigh every element."""
        return self.weight(torch.tanh(self.content(features)) * torch.sigmoid(self.gate(features)))
