"""Tests that need the internet run only where they are asked for: `pytest -m network`."""

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup does
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config, items):
    if "network" not in config.option.markexpr:
        skip = pytest.mark.skip(reason="needs the internet: pytest -m network")
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(skip)
