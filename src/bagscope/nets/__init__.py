"""Networks and poolings by name."""

from bagscope.registry import Registry

NETWORKS = Registry("network", {"kraus": "bagscope.nets.kraus:KrausNet"})
SHAPE_NETWORKS = Registry(
    "network", {"sparse": "bagscope.nets.sparse3d:ShapeNet", "dense": "bagscope.nets.dense3d:DenseShapeNet"}
)
