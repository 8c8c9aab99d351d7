"""Linear nodes as C functions: each takes one spike and passes on what it becomes, so that work follows spikes."""

from string import Template

import numpy as np

from isospike.export.c.constants import make_constant, pack_ternary
from isospike.export.c.plan import Plan
from isospike.graph import Add, AveragePool, Concatenate, Convolution, CountingNeuron, Dense, Flatten, MaxPool, Node
from isospike.graph.nodes import Pair

_FUNCTION = Template("""\
/* $comment */
static void $function($state *s, uint32_t at, int32_t value)
{
$body
}
""")

# The places of the next map whose windows hold this one. Rows and columns that a stride skips have none.
_WINDOWS = Template("""\
    const uint32_t channel = at % ${channels}u;
    const int32_t x = (int32_t)(at / ${channels}u % ${width}u), y = (int32_t)(at / ${row}u);
    int32_t ky, kx;

    for (ky = 0; ky < $kernel_y; ++ky) {
        const int32_t down = y + $pad_y - $dilate_y * ky;
        if (down < 0 || down % $stride_y != 0 || down / $stride_y >= $out_height)
            continue;
        for (kx = 0; kx < $kernel_x; ++kx) {
            const int32_t right = x + $pad_x - $dilate_x * kx;
            uint32_t place;
            if (right < 0 || right % $stride_x != 0 || right / $stride_x >= $out_width)
                continue;
            place = (uint32_t)(down / $stride_y * $out_width + right / $stride_x);
$inner
        }
    }""")

_BYTES = Template("""\
/* $comment: one row of weights, times the spike */
static void $function($state *s, uint32_t row, uint32_t first, int32_t value)
{
    const $type *const weight = $weight + row * ${outputs}u;
    uint32_t i;

    for (i = 0; i < ${outputs}u; ++i) {
$deliver
    }
}
""")

_PACKED = Template("""\
/* $comment: one row of weights, two bits each (1: there is one, 2: it is negative), times the spike */
static void $function($state *s, uint32_t row, uint32_t first, int32_t value)
{
    const $type *word = $weight + row * ${words}u;
    uint32_t i, left;

    for (i = 0; i < ${outputs}u; i += ${per_word}u) {
        uint32_t at = first + i;
        for (left = *word++; left != 0; left >>= 2, ++at) {
$deliver
        }
    }
}
""")


def deliver(plan: Plan, source: str, at: str, value: str, indent: int) -> str:
    """C statements that hand a spike of ``source``, or what it became, to all who take it."""
    lines = []
    for node, place in plan.users[source]:
        label = plan.labels[node.name]
        if isinstance(node, MaxPool) and plan.shares_counts(node):
            continue
        if isinstance(node, CountingNeuron | MaxPool) or node is plan.graph.readout:
            array = f"s->sum_{label}"
            kind = next(member.type for member in plan.members if member.name == f"sum_{label}")
            lines.append(f"{array}[{at}] = ({kind})({array}[{at}] + {value});")
        else:
            lines.append(f"{_function(plan, node, place)}(s, {at}, {value});")
    return "\n".join(" " * indent + line for line in lines)


def write_linear(plan: Plan, node: Node) -> list[str]:
    """The C functions of a linear node, and its constants added to the plan; none where nobody takes its signal."""
    if not plan.users[node.name]:
        return []
    if isinstance(node, Convolution):
        return _write_convolution(plan, node)
    if isinstance(node, Dense):
        return _write_dense(plan, node)
    if isinstance(node, AveragePool):
        channels = plan.shape(node.name)[0]
        inner = f"            place = place * {channels}u + channel;\n"
        inner += deliver(plan, node.name, "place", "value", 12)
        body = _windows(plan, node, node.kernel, node.stride, node.padding, (1, 1), inner)
        return [_write(plan, node, 0, "sum pooling", body)]
    if isinstance(node, Flatten):
        return [_write(plan, node, 0, "flatten: channels before rows before columns", _flatten(plan, node))]
    if isinstance(node, Add):
        return [_write_branch(plan, node, place) for place in range(len(node.inputs))]
    if isinstance(node, Concatenate):
        return [_write_part(plan, node, place) for place in range(len(node.inputs))]
    raise TypeError(f"{node.name}: {type(node).__name__} is not linear")


def _write_convolution(plan: Plan, node: Convolution) -> list[str]:
    out, per_group, height, width = node.weight.shape
    outputs = out // node.groups
    # (groups, out, in, ky, kx) to rows by input channel, ky, kx
    rows = node.weight.reshape(node.groups, outputs, per_group, height, width).transpose(0, 2, 3, 4, 1)
    group = f" + channel / {per_group}u * {outputs}u" if node.groups > 1 else ""
    inner = (
        f"            {_rows(plan, node)}(s, (channel * {height}u + (uint32_t)ky) * {width}u + (uint32_t)kx,\n"
        f"                place * {out}u{group}, value);"
    )
    body = _windows(plan, node, (height, width), node.stride, node.padding, node.dilation, inner)
    return [_write_rows(plan, node, rows.reshape(-1, outputs)), _write(plan, node, 0, "convolution", body)]


def _write_dense(plan: Plan, node: Dense) -> list[str]:
    body = f"    {_rows(plan, node)}(s, at, 0, value);"
    return [_write_rows(plan, node, node.weight.T), _write(plan, node, 0, "dense", body)]


def _write_rows(plan: Plan, node: Node, rows: np.ndarray) -> str:
    """The function that adds one row of weights, times a spike, to what comes next."""
    label, outputs = plan.labels[node.name], rows.shape[1]
    names = {"comment": label, "function": _rows(plan, node), "state": f"{plan.name}_state", "outputs": outputs}
    if plan.packed and int(rows.min()) >= -1 and int(rows.max()) <= 1:
        constant, words = pack_ternary(f"weight_{label}", rows)
        plan.constants.append(constant)
        statements = deliver(plan, node.name, "at", "value * ((int32_t)(left & 1u) - (int32_t)(left & 2u))", 12)
        if "put_" in statements:  # a call costs more than a branch, an addition costs less
            statements = f"            if ((left & 1u) == 0)\n                continue;\n{statements}"
        per_word = constant.bytes // len(constant.values) * 4
        return _PACKED.substitute(
            names, type=constant.type, weight=constant.name, words=words, per_word=per_word, deliver=statements
        )
    constant = make_constant(f"weight_{label}", rows)
    plan.constants.append(constant)
    statements = deliver(plan, node.name, "first + i", "weight[i] * value", 8)
    return _BYTES.substitute(names, type=constant.type, weight=constant.name, deliver=statements)


def _write_branch(plan: Plan, node: Add, place: int) -> str:
    gains = node.gains
    value = "value"
    if gains is not None and (gains[place] != 1).any():
        constant = make_constant(f"gain_{plan.labels[node.name]}_{place}", gains[place])
        plan.constants.append(constant)
        value = f"value * {constant.name}[at % {len(gains[place])}u]"
    return _write(plan, node, place, f"sum, branch {place}", deliver(plan, node.name, "at", value, 4))


def _write_part(plan: Plan, node: Concatenate, place: int) -> str:
    channels = [plan.shape(name)[0] for name in node.inputs]
    before, own, total = sum(channels[:place]), channels[place], plan.shape(node.name)[0]
    at = f"at / {own}u * {total}u + {before}u + at % {own}u"
    return _write(plan, node, place, f"concatenation, part {place}", deliver(plan, node.name, at, "value", 4))


def _flatten(plan: Plan, node: Flatten) -> str:
    channels, height, width = plan.shape(node.inputs[0])
    places = height * width
    at = "at" if channels == 1 or places == 1 else f"at % {channels}u * {places}u + at / {channels}u"
    return deliver(plan, node.name, at, "value", 4)


def _windows(plan: Plan, node: Node, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, inner: str) -> str:
    channels, _, width = plan.shape(node.inputs[0])
    _, out_height, out_width = plan.shape(node.name)
    pairs = {"kernel": kernel, "stride": stride, "pad": padding, "dilate": dilation}
    values = {f"{name}_{axis}": pair[axis == "x"] for name, pair in pairs.items() for axis in "yx"}
    return _WINDOWS.substitute(
        values,
        channels=channels,
        width=width,
        row=channels * width,
        out_height=out_height,
        out_width=out_width,
        inner=inner,
    )


def _write(plan: Plan, node: Node, place: int, what: str, body: str) -> str:
    comment = f"{plan.labels[node.name]}: {what}"
    return _FUNCTION.substitute(
        comment=comment, function=_function(plan, node, place), state=f"{plan.name}_state", body=body
    )


def _function(plan: Plan, node: Node, place: int) -> str:
    branch = f"_{place}" if isinstance(node, Add | Concatenate) else ""
    return f"put_{plan.labels[node.name]}{branch}"


def _rows(plan: Plan, node: Node) -> str:
    return f"add_{plan.labels[node.name]}"
