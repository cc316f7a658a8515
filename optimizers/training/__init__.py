"""The weight stages, sft, grpo and dpo: one training loop over the packed label tree, on TRL's trainer.

Owns the losses, checkpoints, and the choice of the step on dev. The workbench opens the stages by name. It never
changes the prompt, and never trains on rows shortened otherwise than they will be when they are answered.
"""
