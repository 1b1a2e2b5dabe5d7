"""Bags drawn at random, and the poolings as they are defined, in as many digits as it takes."""

from __future__ import annotations

import mpmath as mp
import torch
from hypothesis import settings
from hypothesis import strategies as st

from bagscope import poolings

LAW = settings(derandomize=True, max_examples=40, deadline=None)

# One of each kind; the parameters are the paper's extremes.
CASES = [
    ("noisy_and", {"a": 10.0, "b": 0.1}),
    ("noisy_and", {"a": 5.0, "b": 0.9}),
    ("noisy_or", {}),
    ("isr", {}),
    ("gm", {"r": 1.0}),
    ("gm", {"r": 10.0}),
    ("lse", {"r": 1.0}),
    ("lse", {"r": 10.0}),
    ("mean", {}),
    ("max", {}),
]
# Kinds whose log-odds do not change when a bag is repeated, and those that say z for instances that all say z.
REPEATABLE = ("noisy_and", "gm", "lse", "mean", "max")
MEANS = ("gm", "lse", "mean", "max")


def cases(*names):
    return [case for case in CASES if case[0] in names]


def pool(name, logits, lengths, **parameters):
    return getattr(poolings, name)(logits, lengths, **parameters)


def logit(low=-80.0, high=80.0):
    anything = st.floats(low, high, width=32)
    # Sums where one instance decides and ties are rare among random numbers.
    special = [v for v in (-80.0, -40.5, -17.0, 0.0, 0.5, 17.0, 20.5, 80.0) if low <= v <= high]
    return st.one_of(anything, st.sampled_from(special))


@st.composite
def bag_sets(draw, limit=80.0, classes=2):
    """(N, K) float32 logits and (B,) lengths; often, but not always, bags of one length, or sure instances alone."""
    equal = draw(st.booleans())
    bags = draw(st.integers(1, 3))
    size = st.integers(1, 5)
    lengths = [draw(size)] * bags if equal else draw(st.lists(size, min_size=bags, max_size=bags))
    count = sum(lengths)
    # Where all instances agree, what is small is 1 - P, or P itself: a mixed bag shows neither.
    ends = draw(st.sampled_from([(-limit, limit), (-limit, limit), (17.0, limit), (-limit, -17.0)]))
    values = draw(st.lists(logit(*ends), min_size=count * classes, max_size=count * classes))
    return torch.tensor(values).reshape(count, classes), torch.tensor(lengths)


def sigma(x):
    return 1 / (1 + mp.exp(-x))


def defined(name, bag, a=10.0, b=0.5, r=1.0, digits=60):
    """log(P / (1 - P)) of one bag (a list of numbers), P by the definition in the paper."""
    with mp.workdps(digits):
        z = [mp.mpf(v) for v in bag]
        a, b, r = mp.mpf(a), mp.mpf(b), mp.mpf(r)
        p = [sigma(v) for v in z]
        if name == "noisy_and":
            m = mp.fsum(p) / len(p)
            whole = (sigma(a * (m - b)) - sigma(-a * b)) / (sigma(a * (1 - b)) - sigma(-a * b))
        elif name == "noisy_or":
            # 1 - P is the product itself; from P it would have no digits left.
            none = mp.fprod(1 - v for v in p)
            return mp.log((1 - none) / none)
        elif name == "isr":
            odds = mp.fsum(v / (1 - v) for v in p)
            whole = odds / (1 + odds)
        elif name == "gm":
            whole = (mp.fsum(v**r for v in p) / len(p)) ** (1 / r)
        elif name == "lse":
            whole = mp.log(mp.fsum(mp.exp(r * v) for v in p) / len(p)) / r
        elif name == "mean":
            whole = mp.fsum(p) / len(p)
        else:
            whole = max(p)
        return mp.log(whole / (1 - whole))


def reference(name, logits, lengths, digits=60, **parameters):
    """(B, K) nested lists of mpmath numbers."""
    rows, start = [], 0
    for length in lengths.tolist():
        bag = logits[start : start + length].double().T.tolist()
        rows.append([defined(name, column, digits=digits, **parameters) for column in bag])
        start += length
    return rows


def worst(found, wanted):
    """Largest error as a share of max(1, |L|)."""
    pairs = zip(found.double().flatten().tolist(), [v for row in wanted for v in row], strict=True)
    return max(float(abs(mp.mpf(f) - w) / max(1, abs(w))) for f, w in pairs)
