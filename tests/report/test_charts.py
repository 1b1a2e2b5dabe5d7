"""Do the small charts show the formulas that they are said to show?"""

import numpy as np
import pytest
import torch

from bagscope.ops import pooling
from bagscope.report.charts import noisy_and, noisy_and_inverse

SHARES = np.linspace(0, 1, 21)
PARAMETERS = [(5.0, 0.3), (10.0, 0.1), (7.5, 0.9)]


@pytest.mark.parametrize(("a", "b"), PARAMETERS)
def test_the_drawn_rise_is_that_of_the_pooling(a, b):
    logits = torch.logit(torch.tensor(SHARES[1:-1], dtype=torch.float64))[:, None]
    bags = pooling.noisy_and(logits, [1] * len(logits), a=a, b=torch.tensor([b], dtype=torch.float64))
    assert noisy_and(SHARES[1:-1], a, b) == pytest.approx(torch.sigmoid(bags)[:, 0].numpy(), abs=1e-9)
    assert noisy_and(np.array([0.0, 1.0]), a, b) == pytest.approx([0, 1])


@pytest.mark.parametrize(("a", "b"), PARAMETERS)
def test_the_share_at_a_probability_is_the_share_that_gives_it(a, b):
    back = [noisy_and_inverse(float(p), a, b) for p in noisy_and(SHARES, a, b)]
    assert back == pytest.approx(SHARES, abs=1e-6)
