"""Published data: what is on the web, and what the original software wrote, brought here safely and in gptex's own format."""

from gptex.published.convert import import_legacy
from gptex.published.crosses import combine
from gptex.published.fetching import cache_folder, fetch
from gptex.published.legacy import LegacyImages, open_legacy
from gptex.published.registry import Record, published

__all__ = ["LegacyImages", "Record", "cache_folder", "combine", "fetch", "import_legacy", "open_legacy", "published"]
