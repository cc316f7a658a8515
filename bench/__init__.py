"""How fast the house is, against what anybody would do without it. `make bench` runs it; docs/bench.md explains it.

Owns how times become ratios (``timing``), what is measured on (``setting``, ``machine``) and the page of results. Each
part is a function that returns a ``Measurement``, listed in ``bench.__main__``. It never opens the test split, and
nothing imports it.
"""
