"""The prompt stage: GEPA's search over the DSPy program, with its proposers of instructions.

Owns the search's settings, its split of train, its resumption and its account of what was tried. The workbench opens
``stage.GepaStage`` by name. It never changes weights, never needs a language model to write instructions (the offline
proposer reads the rows), and never reads state that another user wrote.
"""
