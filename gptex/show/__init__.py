"""What a person looks at. Heavy dependencies are extras, imported where they are used."""

from gptex.show.plots import preview, save

__all__ = ["preview", "save"]
