"""Bench of labels with a structure: levels in order, paths of a tree.

Each file is a command of its own, ``python -m bench.structured.NAME``, that prints the numbers of docs/results.md. None
reads a test file, and none writes anything.
"""
