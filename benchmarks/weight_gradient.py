"""The gradient of convolutions' weights in bfloat16: PyTorch's kernel against matrix products, layer by layer.

    python benchmarks/weight_gradient.py --out FILE.json [--rounds 9]

For every shape of convolution of negative-spike-cifar10-cnn1 and scatter-gather-cifar10, on whole images (24x24) and on
small ones (16x16), batches of 512: the time of the kernel (``torch.nn.grad.conv2d_weight``), of the products
(``isospike.training.convolution.weight_gradient``) and, for scale, of the forward pass. They take turns in one process;
medians, after one round that does not count. ``chosen`` says whether a training takes the products where the processor
has AMX; ``sums`` adds up the convolutions of a network. Then images per second of trainings of a few steps of both
recipes, with and without, in turns as well.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does, before PyTorch's first tensor

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

from isospike.data import ImageSet
from isospike.experiment import load_recipe
from isospike.experiment.provenance import describe_machine
from isospike.files import write_json
from isospike.training import TrainingConfig, train
from isospike.training.convolution import MatrixGradients, choose_gradients, fits, weight_gradient
from isospike.training.resizing import Reduction

RECIPES = ("negative-spike-cifar10-cnn1", "scatter-gather-cifar10")
BATCH = 512
STEPS = 4
WHOLE = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if not isinstance(choose_gradients("cpu", False), MatrixGradients):
        print("note: this processor has no AMX: trainings here do not take the products", flush=True)
    result: dict[str, Any] = {"machine": describe_machine("cpu"), "rounds": options.rounds}
    result |= {"layers": [], "sums": [], "steps": []}
    for name in RECIPES:
        for side in (16, WHOLE):
            layers = [measure_layer(layer, options.rounds) for layer in list_layers(name, side)]
            result["layers"] += [{"recipe": name, "side": side, **layer} for layer in layers]
            result["sums"].append({"recipe": name, "side": side, **add_up(layers)})
            print(result["sums"][-1], flush=True)
    for name in RECIPES:
        for side in (16, WHOLE):
            result["steps"].append({"recipe": name, "side": side, **measure_steps(name, side, options.rounds)})
            print(result["steps"][-1], flush=True)
    write_json(options.out, result)


def list_layers(name: str, side: int) -> list[dict[str, Any]]:
    """Each shape of convolution behind the first, as images of this side meet it, and how often it occurs."""
    model = load_recipe(name).build()
    layers: dict[str, dict[str, Any]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        shape = {"input": list(inputs[0].shape[1:]), "weight": list(module.weight.shape)}
        occurs = layers.get(str(shape), {}).get("occurs", 0) + 1
        layers[str(shape)] = {
            **shape,
            "stride": list(module.stride),
            "padding": list(module.padding),
            "occurs": occurs,
        }

    body = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    for module in body[1:]:
        module.register_forward_hook(note)
    images = torch.zeros(1, 3, WHOLE, WHOLE, dtype=torch.uint8)
    if side < WHOLE:
        images = Reduction(model, TrainingConfig(1, small_side=side, small_until=0.5)).apply(images, 0.0)
    layers.clear()  # the reduction looked at a whole image
    model.eval()(images)
    return list(layers.values())


def measure_layer(layer: dict[str, Any], rounds: int) -> dict[str, Any]:
    stride, padding = tuple(layer["stride"]), tuple(layer["padding"])
    images = _draw(BATCH, *layer["input"])
    weight = _draw(*layer["weight"])
    slope = torch.randn_like(conv2d(images, weight, None, stride, padding))
    kernel = (weight.shape[2], weight.shape[3])
    times = take_turns(
        {
            "forward": lambda: conv2d(images, weight, None, stride, padding),
            "kernel": lambda: conv2d_weight(images, list(weight.shape), slope, stride, padding),
            "products": lambda: weight_gradient(images, slope, kernel, stride, padding),
        },
        rounds,
    )
    return {
        **layer,
        "chosen": fits(images, weight, stride, padding),
        **{f"{name}_ms": round(seconds * 1e3, 2) for name, seconds in times.items()},
        "ratio": round(times["kernel"] / times["products"], 2),
    }


def add_up(layers: list[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of all convolutions behind the first: forward, and their gradients by the kernel and as chosen."""
    forward, kernel = (sum(layer["occurs"] * layer[f"{name}_ms"] for layer in layers) for name in ("forward", "kernel"))
    chosen = sum(layer["occurs"] * layer["products_ms" if layer["chosen"] else "kernel_ms"] for layer in layers)
    return {
        "forward_ms": round(forward, 1),
        "kernel_ms": round(kernel, 1),
        "chosen_ms": round(chosen, 1),
        "ratio": round(kernel / chosen, 2),
    }


def measure_steps(name: str, side: int, rounds: int) -> dict[str, Any]:
    """Images per second of a training of this many steps, all of them on images of this side."""
    recipe = load_recipe(name)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (BATCH * STEPS, 3, 32, 32), dtype=torch.uint8, generator=generator)
    data = ImageSet(pixels, torch.randint(0, 10, (len(pixels),), generator=generator))
    small = {"small_side": side, "small_until": 0.99} if side < WHOLE else {"small_side": None, "small_until": 0.0}
    config = dataclasses.replace(
        recipe.train_config, epochs=1, batch_size=BATCH, levels_from=0.0, weights_from=0.0, weights_until=None, **small
    )

    def run(choose: Callable[..., Any]) -> None:
        with patch("isospike.training.loop.choose_gradients", choose):
            train(recipe.build(), data, config, augmentation=recipe.augment)

    times = take_turns(
        {"kernel": lambda: run(lambda *_: nullcontext()), "products": lambda: run(lambda *_: MatrixGradients())},
        rounds,
    )
    return {
        **{f"{name}_images_per_second": round(len(pixels) / seconds, 1) for name, seconds in times.items()},
        "ratio": round(times["kernel"] / times["products"], 2),
    }


def take_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, after a round that does not count; every second round goes backwards."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in list(calls.items())[:: 1 if turn % 2 else -1]:
            started = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: median(seconds) for name, seconds in times.items()}


def _draw(*shape: int) -> Tensor:
    return torch.randn(*shape).bfloat16().contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
