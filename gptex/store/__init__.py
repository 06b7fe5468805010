"""What lies on disk: the shard format, the manifest, generation, verification and repair. docs/format.md is its text."""

from gptex.store.generate import Plan, generate, plan
from gptex.store.manifest import Manifest
from gptex.store.shard import Shard, ShardPlan
from gptex.store.verify import Problem, Verification, repair, verify
from gptex.store.workers import WorkerPool

__all__ = [
    "Manifest",
    "Plan",
    "Problem",
    "Shard",
    "ShardPlan",
    "Verification",
    "WorkerPool",
    "generate",
    "plan",
    "repair",
    "verify",
]
