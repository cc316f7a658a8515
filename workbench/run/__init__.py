"""A run: its folder, its steps from bundle to bundle, what makes a result stale, and what a process costs.

Owns which run a verb works on, the lock on it, and the hashes under which work is kept. Verbs, the comparison and its
workers open runs here. It never reads the test split, and never takes a half-written step for a finished one.
"""
