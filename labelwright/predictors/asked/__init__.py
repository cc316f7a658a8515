"""Predictors for what is asked in another way than as one label of a list: rows' own choices, several points,
levels in order, paths of a tree.

Loaded by ``labelwright.predictors.store`` like any other.
"""
