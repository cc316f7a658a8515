"""Training: a step over the label tree against the same step of TRL's trainers.

Each file holds parts that ``bench.__main__`` lists by name and calls with a ``Setting``. Both sides take the same rows,
LoRA and loss; nothing here keeps the weights that it trains.
"""
