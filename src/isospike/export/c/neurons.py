"""Neurons, max-pool trackers and their thresholds as C functions: each looks at its sums and sends what is due."""

from string import Template

from isospike.engine.ranges import tabulate_thresholds
from isospike.export.c.constants import make_constant
from isospike.export.c.plan import Plan, channels_last
from isospike.export.c.ranges import LARGEST
from isospike.export.c.synapses import deliver
from isospike.graph import CountingNeuron, MaxPool, Readout, most_spikes
from isospike.graph.intervals import bound_potential

_NEURON = Template("""\
/* $label: $about */
static int32_t threshold_$label(uint32_t channel, int32_t n)
{
    return $threshold;
}

static void fire_$label($state *s)
{
    uint32_t at = 0, channel;
    uint8_t unsettled = 0$fired;

    while (at < ${size}u) {
        for (channel = 0; channel < ${channels}u; ++channel, ++at) {
            const int32_t v = (int32_t)s->sum_$label[at]$scale;
            int32_t n = (int32_t)s->count_$label[at];
            int32_t spikes = 0;

            while (spikes < $limit && n < $levels && v >= threshold_$label(channel, n)) {
                ++n;
                ++spikes;
            }
            while (spikes <= 0 && spikes > -$limit && n > 0 && v < threshold_$label(channel, n - 1)) {
                --n;
                --spikes;
            }
            if ((n < $levels && v >= threshold_$label(channel, n)) || (n > 0 && v < threshold_$label(channel, n - 1)))
                unsettled = 1;
            if (spikes != 0) {
                s->count_$label[at] = ($count)n;
$deliver
            }
        }
    }
    s->busy[$number] = unsettled;
$wake}
""")

_POOL = Template("""\
/* $label: $about */
static void fire_$label($state *s)
{
    uint32_t at = 0;
    int32_t channel, y, x, row, column;
    uint8_t unsettled = 0$fired;

    for (y = $first_y; y < $end_y; y += $stride_y) {
        for (x = $first_x; x < $end_x; x += $stride_x) {
            for (channel = 0; channel < $channels; ++channel, ++at) {
                int32_t best = 0, seen = 0, spikes;

                for (row = y < 0 ? 0 : y; row < y + $kernel_y && row < $height; ++row) {
                    for (column = x < 0 ? 0 : x; column < x + $kernel_x && column < $width; ++column) {
                        const int32_t count = (int32_t)s->$source[(row * $width + column) * $channels + channel];
                        if (!seen || $better) {
                            best = count;
                            seen = 1;
                        }
                    }
                }
                spikes = best - (int32_t)s->count_$label[at];
                if (spikes > $limit || spikes < -$limit) {
                    spikes = spikes > 0 ? $limit : -$limit;
                    unsettled = 1;
                }
                if (spikes != 0) {
                    s->count_$label[at] = ($count)(s->count_$label[at] + spikes);
$deliver
                }
            }
        }
    }
    s->busy[$number] = unsettled;
$wake}
""")


def add_members(plan: Plan) -> None:
    """Put every sum and every count into the state."""
    for node in plan.graph:
        label = plan.labels[node.name]
        if isinstance(node, CountingNeuron):
            interval = bound_potential(node, plan.ranges[node.inputs[0]])
            plan.add_member(f"sum_{label}", int(interval.low.min()), int(interval.high.max()), plan.size(node.name))
            plan.add_member(f"count_{label}", 0, most_spikes(node, plan.t_max) or 0, plan.size(node.name))
        elif isinstance(node, MaxPool | Readout):
            interval = plan.ranges[node.inputs[0]]
            ends = min(int(interval.low.min()), 0), max(int(interval.high.max()), 0)
            if isinstance(node, Readout) or not plan.shares_counts(node):
                plan.add_member(f"sum_{label}", *ends, plan.size(node.inputs[0]))
            if isinstance(node, MaxPool):
                plan.add_member(f"count_{label}", *ends, plan.size(node.name))


def write_neuron(plan: Plan, node: CountingNeuron, number: int) -> str:
    """The C functions of counting neurons.

    Thresholds move with the count: a neuron fires up while V is at threshold n + 1 or above, and down while V is below
    threshold n; so no division is needed.
    """
    label = plan.labels[node.name]
    levels, scale, threshold = _write_thresholds(plan, node)
    about = f"counting neurons, at most {node.limit} spike(s) a step; threshold(n) is what spike n + 1 needs"
    return _NEURON.substitute(
        label=label,
        about=about,
        state=f"{plan.name}_state",
        scale=scale,
        threshold=threshold,
        size=plan.size(node.name),
        channels=plan.shape(node.name)[0],
        limit=min(node.limit, levels),
        levels=levels,
        count=_type_of(plan, f"count_{label}"),
        number=number,
        **_send(plan, node.name, 16),
    )


def write_pool(plan: Plan, node: MaxPool, number: int) -> str:
    """The C function of a max-pool tracker."""
    label = plan.labels[node.name]
    channels, height, width = plan.shape(node.inputs[0])
    _, out_height, out_width = plan.shape(node.name)
    better = "count > best"
    if node.signs is not None and (node.signs < 0).any():
        constant = make_constant(f"sign_{label}", node.signs)
        plan.constants.append(constant)
        better = f"(count - best) * {constant.name}[channel] > 0"
    source = plan.labels[node.inputs[0]]
    interval = plan.ranges[node.name]
    span = max(int(interval.high.max()), 0) - min(int(interval.low.min()), 0)
    return _POOL.substitute(
        label=label,
        about=f"the largest count of each window, tracked by at most {node.limit} spike(s) a step",
        state=f"{plan.name}_state",
        first_y=-node.padding[0],
        first_x=-node.padding[1],
        end_y=-node.padding[0] + out_height * node.stride[0],
        end_x=-node.padding[1] + out_width * node.stride[1],
        stride_y=node.stride[0],
        stride_x=node.stride[1],
        kernel_y=node.kernel[0],
        kernel_x=node.kernel[1],
        channels=channels,
        height=height,
        width=width,
        source=f"count_{source}" if plan.shares_counts(node) else f"sum_{label}",
        better=better,
        limit=min(node.limit or 1, span + 1),
        count=_type_of(plan, f"count_{label}"),
        number=number,
        **_send(plan, node.name, 20),
    )


def write_start(plan: Plan, node: CountingNeuron) -> str:
    """The statement that sets potentials before the first step, or clears them."""
    label = plan.labels[node.name]
    value = "0"
    if node.start is not None and node.start.any():
        constant = make_constant(f"start_{label}", channels_last(node.start))
        plan.constants.append(constant)
        value = f"{constant.name}[i]"
    return f"    for (i = 0; i < {plan.size(node.name)}u; ++i)\n        s->sum_{label}[i] = {value};"


def _write_thresholds(plan: Plan, node: CountingNeuron) -> tuple[int, str, str]:
    """The levels within reach, what V is multiplied by, and the threshold for level n + 1.

    The line of the graph where 32 bits hold it, else a table of first integers.
    """
    label = plan.labels[node.name]
    interval = bound_potential(node, plan.ranges[node.inputs[0]])
    reach = node.limit * plan.t_max + 1
    levels = reach if node.levels is None else min(node.levels, reach)
    if node.step is not None:
        bits = node.fraction_bits or 0
        first, step = node.threshold.astype(object), node.step.astype(object)
        last = first + levels * step
        ends = [
            int(interval.low.min()) << bits,
            int(interval.high.max()) << bits,
            first.min(),
            last.max(),
            last.max() - first.min(),
        ]
        if max(map(abs, ends)) <= LARGEST:
            constants = make_constant(f"first_{label}", node.threshold), make_constant(f"step_{label}", node.step)
            plan.constants.extend(constants)
            scale = f" * {1 << bits}" if bits else ""
            return levels, scale, f"{constants[0].name}[channel] + n * {constants[1].name}[channel]"
    table = tabulate_thresholds(node, interval, plan.t_max).T
    levels = table.shape[1]
    constant = make_constant(f"table_{label}", table)
    plan.constants.append(constant)
    return levels, "", f"{constant.name}[channel * {levels}u + (uint32_t)n]"


def _send(plan: Plan, name: str, indent: int) -> dict[str, str]:
    """How a spike is handed on, and who has to look at its sums afterwards."""
    statements = deliver(plan, name, "at", "spikes", indent)
    if not plan.reached[name]:
        return {"fired": "", "deliver": statements, "wake": ""}
    numbers = {node.name: number for number, node in enumerate(plan.graph.spiking)}
    wake = "".join(f"        s->busy[{numbers[reached]}] = 1;\n" for reached in plan.reached[name])
    statements = "\n".join([" " * indent + "fired = 1;", *([statements] if statements else [])])
    return {"fired": ", fired = 0", "deliver": statements, "wake": f"    if (fired) {{\n{wake}    }}\n"}


def _type_of(plan: Plan, name: str) -> str:
    return next(member.type for member in plan.members if member.name == name)
