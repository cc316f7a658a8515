"""Candidates for what is asked in another way than as one label of a list: rows' own choices, several points,
levels in order, paths of a tree.

Used through ``baselines.make``. They are made of the families beside this folder, and never know a recipe.
"""
