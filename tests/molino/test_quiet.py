"""What is kept away from libraries while they are imported."""

import concurrent.futures
import importlib
import sys

from molino import quiet


def test_packages_are_not_found_within_a_block_by_one_thread():
    def find(name):
        sys.modules.pop(name, None)  # what is imported already is found
        try:
            return bool(importlib.import_module(name))
        except ModuleNotFoundError:
            return False

    with quiet.without(("colorsys", "wave")), concurrent.futures.ThreadPoolExecutor(1) as others:
        assert [find(name) for name in ("colorsys", "wave")] == [False, False]
        assert others.submit(find, "colorsys").result()
    assert find("wave")
