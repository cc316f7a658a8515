"""What a call of the in-process engine comes to: which rows go together, in which passes, and how many tokens fit.

Owns the groups of rows (``groups``), the rounds over their option trees (``rounds``), what is known of a device's
memory (``room``), and what is written after rows (``writing``). ``labelwright.engines.transformers`` calls it and holds
the model. It never computes a pass itself (``labelwright.engines.packed``), and never decides which options matter.
"""
