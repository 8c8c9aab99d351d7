"""Networks: the notation, quantisers of activations and weights, capture."""

from isospike.networks.activations import LevelActivation, calibrated, median, qcfs
from isospike.networks.layers import Classifier, Layer, Pixels
from isospike.networks.network import Network, Quantisation, build_network
from isospike.networks.notation import ConvolutionSpec, DenseSpec, LayerSpec, PoolSpec, parse_notation
from isospike.networks.tracing import capture
from isospike.networks.weights import Binary, Int8, QuantisedWeight, Ternary, quantise_weight, split_weight

__all__ = [
    "Binary",
    "Classifier",
    "ConvolutionSpec",
    "DenseSpec",
    "Int8",
    "Layer",
    "LayerSpec",
    "LevelActivation",
    "Network",
    "Pixels",
    "PoolSpec",
    "Quantisation",
    "QuantisedWeight",
    "Ternary",
    "build_network",
    "calibrated",
    "capture",
    "median",
    "parse_notation",
    "qcfs",
    "quantise_weight",
    "split_weight",
]
