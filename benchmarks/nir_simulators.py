"""Runs a NIR file in norse or sinabs; for benchmarks/nir_foreign.py, in an environment that has them.

    python benchmarks/nir_simulators.py norse|sinabs NET.nir IMAGES.npy STEPS OUT.npz float32|float64

IMAGES: float32 (images, channel, height, width), presented at every step. OUT: ``output`` (time, images, classes), and
for each IF node its spikes, int64 (time, images). Needs torch, nir and the simulator, and no isospike.
"""

import json
import sys
import warnings
from importlib.metadata import version
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor


def record(module: Any) -> dict[str, list[Tensor]]:
    """What each neuron layer gives, call by call, by the node's name."""
    seen: dict[str, list[Tensor]] = {}
    for name, part in module.named_modules():
        if type(part).__name__.startswith("IAF"):

            def note(_module: Any, _inputs: Any, output: Any, name: str = name) -> Any:
                seen.setdefault(name, []).append(output[0] if isinstance(output, tuple) else output)
                # sinabs gives its spikes, which are whole numbers, in float32 always
                return output if isinstance(output, tuple) else output.to(torch.get_default_dtype())

            part.register_forward_hook(note)
    return seen


def run_norse(path: str, images: Tensor, steps: int) -> dict[str, np.ndarray]:
    """One image at a time: norse's Flatten takes the batch along."""
    import norse.torch as norse

    outputs, spikes = [], []
    for image in images:
        module = norse.from_nir(nir.read(path)).to(images.dtype)
        seen, state, given = record(module), None, []
        for _ in range(steps):
            output, state = module(image, state)
            given.append(output.reshape(-1))
        outputs.append(torch.stack(given))
        spikes.append({name: torch.stack([each.sum().long() for each in calls]) for name, calls in seen.items()})
    counts = {name: torch.stack([each[name] for each in spikes], 1).numpy() for name in spikes[0]}
    return {"output": torch.stack(outputs, 1).numpy(), **counts}


def run_sinabs(path: str, images: Tensor, steps: int) -> dict[str, np.ndarray]:
    """A batch of whole sequences, as sinabs has it."""
    from sinabs.nir import from_nir

    module = from_nir(nir.read(path), batch_size=len(images)).to(images.dtype)
    seen = record(module)
    output = module(images[:, None].expand(-1, steps, -1, -1, -1).flatten(0, 1))
    output = output[0] if isinstance(output, tuple) else output
    counts = {name: calls[0].reshape(len(images), steps, -1).sum(2).T.long().numpy() for name, calls in seen.items()}
    return {"output": output.reshape(len(images), steps, -1).transpose(0, 1).numpy(), **counts}


def main() -> None:
    """Run, write, and print the versions as JSON."""
    warnings.simplefilter("ignore")
    simulator, path, images, steps, out, dtype = sys.argv[1:]
    run = {"norse": run_norse, "sinabs": run_sinabs}[simulator]
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.inference_mode():
        found = run(path, torch.from_numpy(np.load(images).astype(dtype)), int(steps))
    np.savez(out, **found)
    print(json.dumps({name: version(name) for name in (simulator, "nir", "nirtorch", "torch")}))


if __name__ == "__main__":
    main()
