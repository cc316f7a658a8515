"""How time and memory grow with rows, labels, tokens, options' length and threads; and how a server's queue waits.

Owns the cases that are measured, the fit of an exponent through them, their page and plots (``python -m
bench.growth``), and the simulation of a server's queue (``python -m bench.growth.queue``). Each case is a process of
its own. It never opens the test split, and nothing imports it.
"""
