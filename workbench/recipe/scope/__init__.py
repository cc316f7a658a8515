"""Rows that no label is right for: which they are, and who learns from them.

Called by what reads a recipe's rows and by the comparison. It never asks a model and measures nothing.
"""
