"""Experiments: a recipe, its stages, its run folder."""

from isospike.experiment.reading import list_recipes, load_recipe, read_recipe
from isospike.experiment.recipe import Recipe
from isospike.experiment.run_folder import RunFolder
from isospike.experiment.stages import Experiment, Options

__all__ = ["Experiment", "Options", "Recipe", "RunFolder", "list_recipes", "load_recipe", "read_recipe"]
