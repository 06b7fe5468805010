"""What a person looks at. Heavy dependencies are extras, imported where they are used."""

from gptex.pictures import save
from gptex.show.cards import card
from gptex.show.page import report
from gptex.show.plots import preview
from gptex.show.window import view

__all__ = ["card", "preview", "report", "save", "view"]
