"""The reward "judge": train rows that a larger model rated, label by label, before the weights are trained on them.

Owns the asking (``rating``), what is kept of it on disk, and when too little of it can be used; what is asked and how
it is read is ``rewards.judge``'s. The grpo stage calls it. It never shows a row's own label, nor a row of another
split.
"""
