"""The recipe: what a dataset is, as data; and the texture, a pure function of (recipe, split, index).

This package may import the mathematics (`gptex.fields`) but knows nothing of files beyond the recipe's own.
"""

from gptex.recipe.component import Component
from gptex.recipe.drawing import Texture
from gptex.recipe.names import scale_name
from gptex.recipe.recipe import Recipe

__all__ = ["Component", "Recipe", "Texture", "scale_name"]
