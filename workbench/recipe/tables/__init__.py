"""The tables of a recipe: a dataclass each, whose fields are the keys, with their defaults and what each may be.

Owns which keys there are, and what of a table's own can be wrong with it; ``workbench.recipe.read`` fills them. What
tables say of each other is ``workbench.recipe.checks``', a search aside, and a stage's table is the stage's own
dataclass. Plain types: nothing that tunes is imported.
"""
