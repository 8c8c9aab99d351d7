"""What to do about the operations that cannot be captured, by their ATen names."""

_LEVELS = "use nn.ReLU or a level activation (isospike.networks.qcfs) and train again"
_LOGITS = "return the logits; the class is the largest"
_NORM = "use nn.BatchNorm2d, whose statistics are fixed after training"
_CONVOLUTION = "only Conv2d is captured; upsampling and other dimensions have no place in a classifier of images"
GATES = "spikes add and do not multiply: leave gates and attention out"
_SLICES = "use convolutions with groups or stride instead of slicing and permuting"
_RECURRENT = "only feed-forward networks are captured: use convolutions and dense layers"
REMEDIES: dict[str, str] = {
    **dict.fromkeys(
        ("sigmoid", "tanh", "gelu", "silu", "elu", "selu", "celu", "leaky_relu", "prelu", "rrelu", "softplus", "mish",
         "hardswish", "hardsigmoid", "threshold", "exp", "abs", "sin"),
        _LEVELS,
    ),
    **dict.fromkeys(("softmax", "log_softmax", "argmax", "sort", "topk"), _LOGITS),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"), _NORM),
    **dict.fromkeys(("conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _CONVOLUTION),
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d", "pixel_shuffle"), _CONVOLUTION),
    **dict.fromkeys(("matmul", "bmm", "mm", "addmm", "einsum", "scaled_dot_product_attention"), GATES),
    **dict.fromkeys(("slice", "select", "chunk", "split", "split_with_sizes", "permute", "transpose"), _SLICES),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RECURRENT),
    **dict.fromkeys(("pad", "constant_pad_nd"), "use the padding of the convolution, with zeros"),
}  # fmt: skip
