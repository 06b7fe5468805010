"""Tests that need the internet run only where they are asked for: `pytest -m network`."""

import pytest


def pytest_collection_modifyitems(config, items):
    if "network" not in config.option.markexpr:
        skip = pytest.mark.skip(reason="needs the internet: pytest -m network")
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(skip)
