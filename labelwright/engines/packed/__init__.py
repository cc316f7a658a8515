"""The forward pass behind the in-process engine: many rows and their option trees as one sequence.

Owns the packing, the attention over it, the decoder without its surplus, what frozen layers make of a row in training,
and the check that a model is followed exactly. ``labelwright.engines.passes`` scores with it and the weight stages
train through it, with the same arithmetic. It never decides which options matter, and never knows a label.
"""
