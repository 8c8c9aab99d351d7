"""Recipes: every built-in one, settings, and the way back through TOML."""

import re
from fractions import Fraction
from pathlib import Path

import pytest

from isospike.data.sources import SOURCES
from isospike.errors import RecipeError
from isospike.experiment import RunFolder, list_recipes, load_recipe
from isospike.experiment.keys import list_keys
from isospike.networks import ARCHITECTURES, LevelActivation

PUBLISHED = {
    "all-integer-mnist": ("32C5-P2-64C5-P2-1000", "valid", "all-integer", "ternary", "int8", None, Fraction(1), 4),
    "all-integer-cifar10": (
        "96C3-256C3-P2-384C3-P2-384C3-256C3-P2-1024-1024", "same", "all-integer", "ternary", "int8", None,
        Fraction(1), 4,
    ),
    "scatter-gather-mnist": (
        "16C5(same)-16C5-P2-32C5-P2-256", "valid", "scatter-gather", "ternary", "float", 4, Fraction(1, 2), 4,
    ),
    "scatter-gather-cifar10": (
        "64C3*3-P2-128C3*2-P2-256C3*2-P2-512C3-512", "same", "scatter-gather", "ternary", "float", 4, Fraction(1, 2), 4,
    ),
    "scatter-gather-cifar100": (
        "64C3*3-P2-128C3*2-P2-256C3*2-P2-512C3-512", "same", "scatter-gather", "ternary", "float", 4, Fraction(1, 2), 4,
    ),
    "negative-spike-mnist": (
        "20C5-P2-50C5-P2-500", "valid", "negative-spike", "float", "float", None, Fraction(1, 2), 4,
    ),
    "negative-spike-fashion-mlp": ("400-400", "valid", "negative-spike", "float", "float", None, Fraction(1, 2), None),
    "negative-spike-fashion-lenet": (
        "32C5-P2-64C5-P2-1024", "valid", "negative-spike", "float", "float", None, Fraction(1, 2), None,
    ),
    "negative-spike-cifar10-cnn1": (
        "96C3-256C3-P2-384C3-P2-384C3-256C3-P2-1024-1024", "same", "negative-spike", "float", "float", None,
        Fraction(1, 2), None,
    ),
    "negative-spike-cifar10-cnn2": (
        "128C3-256C3-P2-512C3-P2-1024C3-512C3-P2-1024-512", "same", "negative-spike", "float", "float", None,
        Fraction(1, 2), None,
    ),
}  # fmt: skip


def test_the_built_in_recipes_are_those_of_the_issue() -> None:
    assert set(list_recipes()) >= {"digits", *PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_is_the_published_system(name: str) -> None:
    notation, padding, method, weights, ends, levels, step, encoder_levels = PUBLISHED[name]
    recipe = load_recipe(name)
    margin = recipe.network.padding or "valid"
    assert (recipe.network.notation, margin, recipe.convert.method) == (notation, padding, method)
    assert (recipe.quantise.weights, recipe.quantise.ends) == (weights, ends)
    activations = [module for module in recipe.build().modules() if isinstance(module, LevelActivation)]
    assert activations[0].levels == encoder_levels
    assert {activation.levels for activation in activations[1:]} == {levels}
    assert {activation.read_step() for activation in activations} == {step}
    assert recipe.in_shape[1:] == ((24, 24) if "cifar" in name else (28, 28))


@pytest.mark.parametrize("name", ["digits", *PUBLISHED])
def test_full_precision_twin_of_every_recipe(name: str) -> None:
    recipe = load_recipe(name, ["quantise.levels=none", "quantise.weights=float"])
    model = recipe.build()
    assert not recipe.is_convertible
    assert not any("parametrizations" in key for key in model.state_dict())
    assert not any(isinstance(module, LevelActivation) for module in model.modules())


@pytest.mark.parametrize("name", ["digits", *PUBLISHED])
def test_resolved_recipe_reads_back_as_it_was(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, ["train.learning_rate=1e-05", "seed=7"])
    folder = RunFolder(tmp_path)
    folder.write_recipe(recipe)
    assert folder.read_recipe() == recipe
    assert folder.read_recipe().train_config.seed == 7


def test_settings_take_numbers_words_lists_and_none() -> None:
    settings = ["train.epochs=2", "network.padding=same", "network.offset=[9]", "quantise.encoder_bound=none"]
    recipe = load_recipe("digits", settings)
    assert recipe.train.epochs == 2
    assert recipe.network.padding == "same"
    assert recipe.network.offset == (9,)
    assert recipe.quantise.encoder_bound is None


def test_words_that_look_like_numbers_stay_words() -> None:
    recipe = load_recipe("digits", ["network.notation=400", "name=2024"])
    assert recipe.network.notation == "400"
    assert recipe.name == "2024"
    assert load_recipe("digits", ['network.notation="400-400"']).network.notation == "400-400"
    assert load_recipe("digits", ["network.padding=none"]).network.padding is None


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'train.epoch'.*'train.epochs'"):
        load_recipe("digits", ["train.epoch=3"])


def test_file_that_is_not_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("name = ")
    with pytest.raises(RecipeError, match="TOML"):
        load_recipe(str(path))
    path.write_text('name = "own"')
    with pytest.raises(RecipeError, match="missing"):
        load_recipe(str(path))


def test_crops_of_data_and_augmentation_go_together() -> None:
    with pytest.raises(RecipeError, match=r"augment\.crop"):
        load_recipe("all-integer-cifar10", ["data.crop=28"])


def test_held_out_images_take_the_place_of_the_test_split() -> None:
    recipe = load_recipe("digits", ["data.held_out=200"])
    train, held_out = recipe.load_data(None)
    whole, test = load_recipe("digits").load_data(None)
    assert len(held_out) == 200
    assert len(train) == len(whole) - 200
    known = {image.numpy().tobytes() for image in whole.images}
    assert all(image.numpy().tobytes() in known for image in held_out.images)
    assert len(test) == 360


def test_energy_constants_of_ones_own(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert load_recipe("digits").energy is None
    folder.write_recipe(load_recipe("digits"))
    assert "energy" not in (tmp_path / "recipe.toml").read_text()
    changed = folder.read_recipe(["energy.mac=1.5", "energy.name=45"])  # of a trained run
    assert changed.energy is not None
    assert (changed.energy.name, changed.energy.mac, changed.energy.ac) == ("45", 1.5, 0.03)
    folder.write_recipe(changed)
    assert folder.read_recipe() == changed
    assert folder.read_recipe(["energy=none"]).energy is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("energy.macs=1", "unknown key 'energy.macs'; did you mean 'energy.mac'"),
        ("energy.ac=-1", "energy.ac"),
        ("energy.memory=nan", "energy.memory"),
        ("energy.accesses_per_mac=0.5", "energy.accesses_per_mac"),
        ("energy.name=int8", "energy.name: expected another name than float32, int32, int8"),
        ("energy.name=sops", "energy.name: expected another name"),
        ("energy.name=a b", "energy.name"),
        ("noise.input=1e308", "noise.input"),
    ],
)
def test_energy_constants_that_cannot_be(setting: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("digits", [setting])
    assert words in str(caught.value)


def test_every_key_is_documented() -> None:
    sections = re.split(r"^## ", (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(), flags=re.MULTILINE)
    for key in list_keys():
        section, _, last = key.rpartition(".")
        titled = [part for part in sections if f"`[{section}]`" in part.partition("\n")[0]]
        text = titled[0] if titled else sections[0]
        assert f"`{last}`" in text or f"`{key}`" in text, key
    notation = next(part for part in sections if part.startswith("`[network]`"))
    assert all(f"`{name}`" in notation for name in ARCHITECTURES)
    data = next(part for part in sections if part.startswith("`[data]`"))
    assert all(f"`{name}`" in data for name in SOURCES)


@pytest.mark.parametrize(
    ("limit", "expected"), [("2", {"limit": 2}), ('"none"', {"limit": None}), ("none", {"limit": None})]
)
def test_a_limit_of_none_is_as_many_as_there_are_levels(limit: str, expected: dict[str, object]) -> None:
    recipe = load_recipe("digits", ["convert.method=counting", f"convert.limit={limit}"])
    assert recipe.convert.given == {**expected, "t_max": 64}
    assert load_recipe("digits", ["convert.method=counting"]).convert.given.keys() == {"t_max"}
