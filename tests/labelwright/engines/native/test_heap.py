"""What was freed goes back to the system."""

import platform
import subprocess
import sys

import pytest

# Below the size from which glibc gives a block memory of its own, and one that is held on top of all others.
CODE = """
from labelwright.engines.native.heap import give_back_heap

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

blocks = [bytearray(100_000) for _ in range(2000)]
held = blocks[-1]
del blocks
before = resident()
give_back_heap()
print((before - resident()) // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others give back by themselves, or never")
def test_what_was_freed_goes_back_though_something_above_it_is_held():
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    assert int(said) > 150
