"""Rows beside those of the splits: what no label is right for, and what has no label.

Owns which of them teach, which are measured, and that nothing of what is measured teaches. ``workbench.recipe.rows``
checks them with the others; the comparison asks for them. It never changes a split.
"""
