"""What a call of the in-process engine comes to: which rows go together, in which passes, and how many tokens fit.

Owns the groups of rows (``groups``), the rounds over their option trees (``rounds``), what is known of a device's
memory (``room``), and what is written after rows (``writing``). ``labelwright.engines.transformers`` calls it, under
its lock and in inference mode, and holds the model. The arithmetic of a pass is ``labelwright.engines.packed``'s; which
options matter is never decided here.
"""
