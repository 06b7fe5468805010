"""Run the benchmarks named on the command line, or all of them."""

from __future__ import annotations

import importlib
import sys

from threadpoolctl import threadpool_limits

ALL = ("texture", "memory", "peers", "end_to_end", "published", "reading", "backdrop", "training")

if __name__ == "__main__":
    with threadpool_limits(1):
        for name in sys.argv[1:] or ALL:
            print(f"\n## {name}\n")
            importlib.import_module(f"benchmarks.{name}").main()
