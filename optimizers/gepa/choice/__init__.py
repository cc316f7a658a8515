"""What a search is for, and which of its programs is taken.

``objective`` is the value of an answer, on probabilities that are calibrated as they will ship; ``confirmation`` holds
the best programs against rows that took no part in the search. Called by ``optimizers.gepa.stage``; neither knows DSPy.
"""
