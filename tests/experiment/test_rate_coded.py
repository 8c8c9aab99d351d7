"""Recipes of rate-coded methods, from their options to the metrics."""

import dataclasses
from pathlib import Path

import pytest

from isospike.conversion import METHODS
from isospike.errors import RecipeError
from isospike.experiment import Experiment, Options, RunFolder, list_recipes, load_recipe
from isospike.experiment.sections import ConvertSection

RATE_CODED = [name for name in list_recipes() if name.startswith(("srp-", "percentile-"))]
SMALL = [
    "network.notation=4C3-P2-8",
    "network.pool=avg",
    "quantise.weights=float",
    "train.epochs=2",
    "simulate.steps=6",
    "convert.t_max=8",
]


def test_every_option_of_a_method_is_a_key_of_a_recipe() -> None:
    for method in METHODS.values():
        options = {field.name for field in dataclasses.fields(method.config)}
        assert options - {"seed"} <= set(ConvertSection.model_fields)


@pytest.mark.parametrize("name", RATE_CODED)
def test_recipes_name_their_own_methods(name: str) -> None:
    recipe = load_recipe(name)
    assert not METHODS[recipe.convert.method].lossless
    assert recipe.is_convertible
    METHODS[recipe.convert.method].config(**recipe.convert_options)


def test_options_of_other_methods_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"convert\.tau: qcfs has no such option; it has t_max, integer_bits: leave"):
        load_recipe("digits", ["convert.method=qcfs", "convert.tau=4"])
    with pytest.raises(RecipeError, match=r"convert\.integer_bits: .*8 or 16"):
        load_recipe("digits", ["convert.method=qcfs", "convert.integer_bits=4"])
    with pytest.raises(RecipeError, match=r"convert\.percentile: .*less than or equal to 100"):
        load_recipe("digits", ["convert.method=percentile", "convert.percentile=101"])


@pytest.mark.parametrize(
    ("settings", "tau"),
    [
        (["quantise.levels=qcfs", "convert.method=srp", "convert.tau=2"], 2),
        (["quantise.levels=none", "convert.method=percentile", "convert.norm=50"], 0),
        (["quantise.levels=qcfs", "convert.method=srp", "convert.tau=2", "convert.integer_bits=8"], 2),
    ],
)
def test_metrics_tell_latency_and_loss(tmp_path: Path, settings: list[str], tau: int) -> None:
    recipe = load_recipe("digits", [*SMALL, *settings, "simulate.engine=torch"])
    experiment = Experiment(recipe, RunFolder(tmp_path), Options(limit=40))
    experiment.train()
    assert experiment.evaluate()["ann"]["macs_per_image"] > 0
    experiment.convert()
    metrics = experiment.simulate()
    assert (metrics["snn"]["tau"], metrics["snn"]["settled"]) == (tau, None)
    assert len(metrics["snn"]["accuracy"]) == 6
    metrics = experiment.verify()
    assert metrics["verify"] is None
    assert metrics["loss"]["images"] == 40
    assert len(metrics["loss"]["agreement"]) == len(metrics["loss"]["logit_error"]) == 6
    assert metrics["loss"]["differing_tensors"] == []
    experiment.convert()
    assert "loss" not in experiment.folder.read_metrics()
