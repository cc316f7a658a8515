"""What a search may change in a program: its instructions, and the descriptions of its labels.

``parts`` knows both as GEPA sees them, texts by predictor, and as the prompt they stand for; ``descriptions`` proposes
the latter from evidence in the train rows. Called by ``optimizers.gepa.stage``.
"""
