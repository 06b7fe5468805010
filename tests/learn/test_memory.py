"""Memory that is kept is not asked for again: the page faults of a process of its own, as the system counts them."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import torch
from gptex.learn import keep_memory
{call}
def faults():  # of three tensors of 64 MiB, more than glibc keeps by itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24).add(1).add(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(4)][-1])
"""


def faults_of(call):
    return int(
        subprocess.run([sys.executable, "-c", COUNT.format(call=call)], check=True, capture_output=True, text=True).stdout
    )


@pytest.mark.slow  # two processes that bring torch
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_what_is_freed_is_kept_for_the_next_step():
    assert faults_of("keep_memory()") < 10
    assert faults_of("") >= 3 * 32  # one for each 2 MiB, should the system give huge pages; else 3 * 16384
