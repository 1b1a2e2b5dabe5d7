"""Networks and poolings by name."""

from bagscope.registry import Registry

NETWORKS = Registry("network", {"kraus": "bagscope.nets.kraus:KrausNet"})
