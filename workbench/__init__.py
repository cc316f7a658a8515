"""Runs: from a recipe to tuned bundles, a comparison on test, a report, and the bundle that is exported.

Owns the verbs that a person types, run folders, and the order in which everything else is called. Nothing imports it
but the bench. It never implements a stage, a baseline or a metric, and everything it keeps survives a kill.
"""
