"""How fast the house is, against what anybody would do without it. `make bench` runs it; docs/bench.md explains it."""
