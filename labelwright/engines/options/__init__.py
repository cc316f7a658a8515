"""The options of one call as token sequences: their tree, and which part of it has to be asked of a model.

Owns the tree, the bound that says when no more of it can matter, the walk for engines that are asked place by place,
and the grammar for those that decode under one; and, of answers that are no closed set,
which tokens may come next. Engines call it; it knows numbers and no models.
"""
