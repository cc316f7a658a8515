"""What scores a closed set of options: the protocol, and one file a backend.

Owns how option trees are walked, what may stay unexpanded, how text becomes tokens, and how many callers share one
engine. ``opening.open_engine`` is the way in, for the classifier, the stages and the workbench; which backend answers
is known to nobody outside. Engines never write a prompt, never calibrate and never see a gold label.
"""
