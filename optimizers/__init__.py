"""Improves a bundle: every stage is Bundle -> Bundle, one stage a file or a folder.

Owns the contract (``optimizers.stage``), the stages that leave the weights alone, and what they share. The workbench
imports a stage by name when a recipe lists it; no stage runs another. Stages never see the test split, and return the
bundle they were given where dev did not improve.
"""
