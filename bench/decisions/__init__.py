"""Bench of decisions: promises, watching, what to label next.

Each file is a command, `python -m bench.decisions.NAME`, that prints numbers of docs/decide.md. It never opens the
recipe's test split, and nothing imports it.
"""
