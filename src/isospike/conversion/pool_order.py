"""Max pools after the activations that they come before."""

from dataclasses import replace

from isospike.errors import ConversionError
from isospike.graph import Activation, Concatenate, Flatten, Input, MaxPool, Node, Rectifier, SpikingGraph


def pool_spikes(ann: SpikingGraph) -> SpikingGraph:
    """Let every max pool take activations: where one takes currents and an activation follows, the two change places.

    An activation never falls where its input rises, so ``activation(max(z)) = max(activation(z))``: the network
    computes the same. A max pool of spikes can be tracked by counts, one of currents cannot. Max pools of pixels stay.

    Args:
        ann: from :func:`isospike.networks.capture`.

    Raises:
        ConversionError: a max pool of currents that something else follows.
    """
    nodes = {node.name: node for node in ann}
    for pool in ann:
        if not isinstance(pool, MaxPool) or _gives(nodes, pool.inputs[0], spikes=True):
            continue
        if _gives(nodes, pool.inputs[0], spikes=False):
            continue
        users = [node for node in nodes.values() if pool.name in node.inputs]
        if len(users) != 1 or not isinstance(users[0], Activation | Rectifier):
            raise ConversionError(
                f"{pool.name}: a max pool of currents cannot be tracked by spikes, unless an activation follows it: "
                "put the activation before it, or use average pooling"
            )
        activation = users[0]
        nodes = _swap(nodes, pool, activation)
    return SpikingGraph(tuple(nodes.values()), ann.t_max)


def _gives(nodes: dict[str, Node], name: str, spikes: bool) -> bool:
    """Whether ``name`` gives nothing but spikes; or, nothing but pixels."""
    node = nodes[name]
    if isinstance(node, MaxPool | Flatten | Concatenate):
        return all(_gives(nodes, source, spikes) for source in node.inputs)
    return isinstance(node, Activation | Rectifier) if spikes else isinstance(node, Input)


def _swap(nodes: dict[str, Node], pool: MaxPool, activation: Activation | Rectifier) -> dict[str, Node]:
    swapped: dict[str, Node] = {}
    for name, node in nodes.items():
        if name == pool.name:
            swapped[activation.name] = replace(activation, inputs=pool.inputs)
            swapped[pool.name] = replace(pool, inputs=(activation.name,))
        elif name != activation.name:
            inputs = tuple(pool.name if source == activation.name else source for source in node.inputs)
            swapped[name] = replace(node, inputs=inputs)
    return swapped
