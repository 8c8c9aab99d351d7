"""Which captured networks the lossless methods take: layers one after another."""

from isospike.errors import ConversionError
from isospike.graph import Activation, BatchNorm, Convolution, Dense, Input, MaxPool, Readout, Rectifier, SpikingGraph
from isospike.graph.nodes import Joining


def check_layers(ann: SpikingGraph) -> None:
    """Refuse what is captured, but not yet converted without loss.

    A layer is synapses, then a BatchNorm perhaps, then a level activation; pooling and flattening come between layers.

    Raises:
        ConversionError: names the node that does not fit, and the remedy.
    """
    for node in ann:
        before = type(ann[node.inputs[0]]) if node.inputs else None
        if isinstance(node, Input) and node.floats:
            raise ConversionError(
                f"{node.name}: float images have no exact integers: let the network begin with "
                "isospike.networks.Pixels"
            )
        if isinstance(node, Rectifier):
            raise ConversionError(
                f"{node.name}: a ReLU has no levels, so no spike count can equal it: train with "
                "quantise.levels=median or qcfs"
            )
        if isinstance(node, Joining):
            raise ConversionError(
                f"{node.name}: a {type(node).__name__} of branches is captured, but no lossless method takes it yet: "
                "use a network whose layers follow one another"
            )
        if isinstance(node, BatchNorm) and before not in (Convolution, Dense):
            raise ConversionError(f"{node.name}: a BatchNorm must follow a convolution or dense layer")
        if isinstance(node, Activation | Readout) and before not in (Convolution, Dense, BatchNorm):
            raise ConversionError(f"{node.name}: a {type(node).__name__} must follow a convolution or dense layer")
        if isinstance(node, Convolution | Dense | MaxPool) and before in (Convolution, Dense, BatchNorm):
            raise ConversionError(
                f"{node.name}: expected spikes to come in, got the currents of {node.inputs[0]}: put an activation "
                "between"
            )
