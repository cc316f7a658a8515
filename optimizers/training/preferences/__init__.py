"""Preferences: of a train row, the label that is to be taken and one that is plausible and is not.

Owns which rows are hard (``hard``), what a person chose (``chosen``), and TRL's loss of such pairs over the label tree
(``pair_loss``). The dpo stage and ``bench.training.preferences`` call it. It looks at train rows only, and never asks
a language model: whoever calls brings what the model said.
"""
