"""Bench of decisions: promises, watching, what to label next.

Each file is a command of its own, ``python -m bench.decisions.NAME``, that prints the numbers of docs/decide/README.md.
None reads a test split, and none writes but where it is told to.
"""
