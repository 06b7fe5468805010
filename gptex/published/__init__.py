"""Published data: what the original software wrote, read safely."""

from gptex.published.legacy import LegacyImages, open_legacy

__all__ = ["LegacyImages", "open_legacy"]
