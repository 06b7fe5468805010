"""The errors gptex raises for what a user can mend; everything else is a bug and keeps its own type."""


class GptexError(Exception):
    """What is wrong, where, and what to do about it, in one line."""


class RecipeError(GptexError, ValueError):
    """A recipe, or the arguments that make one, cannot be honoured."""


class DatasetError(GptexError):
    """A dataset folder is missing something, damaged, or holds something else."""


class MissingExtraError(GptexError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""
