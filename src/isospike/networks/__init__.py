"""Networks: the notation, the named networks, quantisers of activations and weights, capture."""

from isospike.networks.activations import LevelActivation, calibrated, median, qcfs
from isospike.networks.layers import Classifier, Layer, Pixels
from isospike.networks.mobilenet import MobileNetV1, mobilenet_v1
from isospike.networks.named import ARCHITECTURES, build_architecture
from isospike.networks.network import Network, Quantisation, build_network
from isospike.networks.notation import ConvolutionSpec, DenseSpec, LayerSpec, PoolSpec, parse_notation
from isospike.networks.onnx_reader import read_onnx
from isospike.networks.reference import CapturedNetwork, evaluate_capture
from isospike.networks.resnet import ResNet, resnet8, resnet18, resnet20, resnet34
from isospike.networks.restoring import restore
from isospike.networks.tracing import capture
from isospike.networks.vgg import Vgg, vgg11, vgg15, vgg16
from isospike.networks.weights import Binary, Int8, QuantisedWeight, Ternary, quantise_weight, split_weight

__all__ = [
    "ARCHITECTURES",
    "Binary",
    "CapturedNetwork",
    "Classifier",
    "ConvolutionSpec",
    "DenseSpec",
    "Int8",
    "Layer",
    "LayerSpec",
    "LevelActivation",
    "MobileNetV1",
    "Network",
    "Pixels",
    "PoolSpec",
    "Quantisation",
    "QuantisedWeight",
    "ResNet",
    "Ternary",
    "Vgg",
    "build_architecture",
    "build_network",
    "calibrated",
    "capture",
    "evaluate_capture",
    "median",
    "mobilenet_v1",
    "parse_notation",
    "qcfs",
    "quantise_weight",
    "read_onnx",
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet34",
    "restore",
    "split_weight",
    "vgg11",
    "vgg15",
    "vgg16",
]
