"""Which functions make one log-odds per bag and class out of those of its instances."""

from bagscope.ops.pooling import gm, isr, lse, max, mean, noisy_and, noisy_or

__all__ = ["gm", "isr", "lse", "max", "mean", "noisy_and", "noisy_or"]
