"""The C program of a graph: one .c, one .h, a main.c, a Makefile, and what it takes of flash and RAM."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

import numpy as np

from isospike.errors import ExportError, GraphError
from isospike.export.c.constants import make_constant
from isospike.export.c.host import write_main, write_makefile
from isospike.export.c.neurons import add_members, write_neuron, write_pool, write_start
from isospike.export.c.plan import Member, Plan, make_plan
from isospike.export.c.sizes import Sizes, measure_sizes
from isospike.export.c.synapses import deliver, write_linear
from isospike.files import write_json, write_text
from isospike.graph import CountingNeuron, MaxPool, SpikingGraph

WEIGHTS = ("packed", "bytes")

_HEADER = Template("""\
/* A spiking neural network in plain integers, written by isospike. See $name.c. */
#ifndef ${upper}_H
#define ${upper}_H

#include <stdint.h>

#define ${upper}_CHANNELS $channels
#define ${upper}_HEIGHT $height
#define ${upper}_WIDTH $width
#define ${upper}_PIXELS $pixels /* bytes of an image: channels, rows, columns */
#define ${upper}_CLASSES $classes
#define ${upper}_T_MAX $t_max /* time steps that all sums are proved to fit for */
#define ${upper}_STATE_BYTES $bytes /* the RAM of one network; there is no heap and no buffer besides */

/* Membrane potentials (sum_) and spike counts (count_). Its fields are the program's own. */
typedef struct {
$members
} $state;

/* Begin with an image. */
void ${name}_init($state *s, const uint8_t image[$pixels]);

/* One time step through all layers. Gives 1, or 0 where ${upper}_T_MAX steps are done and nothing was changed. */
int ${name}_step($state *s);

/* The logits after the steps so far, one per class; the largest is the answer. */
void ${name}_logits(const $state *s, int32_t logits[$classes]);

/* 1 where every count is what its potential deserves: more steps would change nothing. */
int ${name}_is_settled(const $state *s);

#endif
""")

_SOURCE = Template("""\
/* A spiking neural network in plain integers, written by isospike.
 *
 * Neuron (channel c, row y, column x) of a map is number (y * width + x) * channels + c. Each neuron adds what its
 * synapses bring to sum_, and fires until count_ is the number of thresholds at or below that sum; a spike is handed
 * to every neuron it reaches at once, so work follows spikes. Layers that nothing has reached are left out.
 */
#include "$name.h"

/* The size that ${upper}_STATE_BYTES says. */
typedef char ${state}_has_its_size[sizeof($state) == ${upper}_STATE_BYTES ? 1 : -1];

$constants

$functions
void ${name}_init($state *s, const uint8_t image[$pixels])
{
    uint32_t i;
$input_variables
$clear
    s->steps = 0;
    s->settled = 0;
$input}

int ${name}_step($state *s)
{
    if (s->steps >= ${upper}_T_MAX)
        return 0;
    ++s->steps;
$fire
    s->settled = $settled;
    return 1;
}

void ${name}_logits(const $state *s, int32_t logits[$classes])
{
    uint32_t i;

    for (i = 0; i < ${classes}u; ++i)
        logits[i] = (int32_t)s->sum_$readout[i] + $bias[i];
}

int ${name}_is_settled(const $state *s)
{
    return s->settled;
}
""")

_INPUT = Template("""\
    for (i = 0; i < ${places}u; ++i) {
        for (channel = 0; channel < ${channels}u; ++channel) {
            const int32_t value = (int32_t)image[channel * ${places}u + i] - $offset[channel];
            if (value != 0) {
                const uint32_t at = i * ${channels}u + channel;
$deliver
            }
        }
    }
""")


@dataclass(frozen=True)
class CProgram:
    """What was written.

    Attributes:
        folder: where it is.
        name: of its files and functions.
        sizes: flash and RAM.
    """

    folder: Path
    name: str
    sizes: Sizes


def export_c(graph: SpikingGraph, folder: str | Path, weights: str = "packed", name: str = "snn") -> CProgram:
    """Write an integer graph as C99 that gives the logits of :func:`isospike.simulate` at every step, bit for bit.

    ``NAME.c`` and ``NAME.h`` are the network: ``init``, ``step``, ``logits``, ``is_settled``; ``main.c`` reads images
    from a file or from standard input; ``Makefile`` builds them; ``metrics.json`` says what they take.

    Args:
        graph: an integer spiking graph.
        folder: made where it is not there; files of these names are replaced.
        weights: "packed" (ternary weights take two bits) or "bytes" (eight).
        name: the prefix of files and functions.

    Raises:
        ExportError: a graph with floats or sums of more than 32 bits; an unknown option.
        FileError: the folder cannot be written.
    """
    if weights not in WEIGHTS:
        raise ExportError(f"weights: expected one of {', '.join(WEIGHTS)}, got {weights!r}")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name) or name == "main":
        raise ExportError(f"name: expected a C identifier in small letters, up to 31 of them, got {name!r}")
    plan = make_plan(graph, name, weights == "packed")
    add_members(plan)
    try:
        functions = _write_functions(plan)
    except GraphError as error:
        raise ExportError(f"export c takes what the integer engine takes: {error}") from error
    path = Path(folder)
    write_text(path / f"{name}.c", _write_source(plan, functions))
    write_text(path / f"{name}.h", _write_header(plan))
    write_text(path / "main.c", write_main(_names(plan)))
    write_text(path / "Makefile", write_makefile(name))
    sizes = measure_sizes(path, name, sum(constant.bytes for constant in plan.constants), count_state_bytes(plan))
    write_json(path / "metrics.json", {"weights": weights, "t_max": graph.t_max, **asdict(sizes)})
    return CProgram(path, name, sizes)


def count_state_bytes(plan: Plan) -> int:
    """``sizeof`` the state: members in falling order of their alignment, so that only the end is padded."""
    size = sum(member.bytes for member in plan.members) + 4 + max(len(plan.graph.spiking), 1) + 1
    return -(-size // 4) * 4


def _write_functions(plan: Plan) -> list[str]:
    """Every function of the layers, the last layer first: each calls only what comes after it."""
    numbers = {node.name: number for number, node in enumerate(plan.graph.spiking)}
    functions = []
    for node in reversed(plan.graph.nodes):
        if isinstance(node, CountingNeuron):
            functions.append(write_neuron(plan, node, numbers[node.name]))
        elif isinstance(node, MaxPool):
            functions.append(write_pool(plan, node, numbers[node.name]))
        elif node is not plan.graph.input and node is not plan.graph.readout:
            functions.extend(write_linear(plan, node))
    return functions


def _write_source(plan: Plan, functions: list[str]) -> str:
    graph = plan.graph
    bias = make_constant("bias", graph.readout.bias)
    plan.constants.append(bias)
    spiking = graph.spiking
    clear = [_write_clear(member) for member in plan.members if not _starts(plan, member.name)]
    clear += [write_start(plan, node) for node in graph.neurons if isinstance(node, CountingNeuron)]
    clear.append(f"    for (i = 0; i < {max(len(spiking), 1)}u; ++i)\n        s->busy[i] = {int(bool(spiking))};")
    variables, presented = _write_input(plan)
    fire = [f"    if (s->busy[{n}])\n        fire_{plan.labels[node.name]}(s);" for n, node in enumerate(spiking)]
    busy = " && ".join(f"!s->busy[{number}]" for number in range(len(spiking))) or "1"
    return _SOURCE.substitute(
        _names(plan),
        constants="\n\n".join(constant.write() for constant in plan.constants),
        functions="\n".join(functions),
        input_variables=variables,
        clear="\n".join(clear),
        input=presented,
        fire="\n".join(fire),
        settled=busy,
        readout=plan.labels[graph.readout.name],
        bias=bias.name,
    )


def _write_header(plan: Plan) -> str:
    lines = [f"    {member.type} {member.name}[{member.length}];" for member in _order(plan)]
    four = next((i for i, member in enumerate(_order(plan)) if member.type != "int32_t"), len(lines))
    lines.insert(four, "    uint32_t steps;")
    lines += [f"    uint8_t busy[{max(len(plan.graph.spiking), 1)}]; /* by layer: look at its sums */"]
    lines += ["    uint8_t settled;"]
    return _HEADER.substitute(_names(plan), members="\n".join(lines), bytes=count_state_bytes(plan))


def _write_input(plan: Plan) -> tuple[str, str]:
    """The variables and the statements that present the image to the encoder."""
    node = plan.graph.input
    statements = deliver(plan, node.name, "at", "value", 16)
    if not statements:
        return "", "    (void)image;\n"
    offset = make_constant("offset", node.offset)
    plan.constants.append(offset)
    channels, height, width = plan.shape(node.name)
    values = {"channels": channels, "places": height * width, "offset": offset.name, "deliver": statements}
    return "    uint32_t channel;\n", _INPUT.substitute(values)


def _write_clear(member: Member) -> str:
    return f"    for (i = 0; i < {member.length}u; ++i)\n        s->{member.name}[i] = 0;"


def _starts(plan: Plan, member: str) -> bool:
    """Whether a member is a neuron's potential, which begins where the graph says."""
    return any(member == f"sum_{plan.labels[node.name]}" for node in plan.graph.neurons)


def _order(plan: Plan) -> list[Member]:
    return sorted(plan.members, key=lambda member: -member.bytes // member.length)


def _names(plan: Plan) -> dict[str, object]:
    channels, height, width = plan.shape(plan.graph.input.name)
    return {
        "name": plan.name,
        "upper": plan.name.upper(),
        "state": f"{plan.name}_state",
        "channels": channels,
        "height": height,
        "width": width,
        "pixels": int(np.prod(plan.graph.input.shape)),
        "classes": plan.size(plan.graph.readout.name),
        "t_max": plan.t_max,
    }
