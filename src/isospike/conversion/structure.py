"""Which captured networks have a quantised ANN: those that count from the pixels on."""

from isospike.errors import ConversionError
from isospike.graph import Input, Rectifier, SpikingGraph


def check_network(ann: SpikingGraph) -> None:
    """Refuse what is captured, but has no counts.

    Raises:
        ConversionError: names the node, and the remedy.
    """
    for node in ann:
        if isinstance(node, Input) and node.floats:
            raise ConversionError(
                f"{node.name}: float images have no exact integers: let the network begin with isospike.networks.Pixels"
            )
        if isinstance(node, Rectifier):
            raise ConversionError(
                f"{node.name}: a ReLU has no levels, so no spike count can equal it: train with "
                "quantise.levels=median or qcfs, or calibrate the network to levels first (isospike.calibrate)"
            )
