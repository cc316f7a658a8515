"""What scores a closed set of options: the protocol, and one file a backend.

Owns how option trees are walked, what may stay unexpanded, and how text becomes tokens. ``protocol.open_engine`` is the
way in, for the classifier, the stages and the workbench; which backend answers is known to nobody outside. Engines
never write a prompt, never calibrate and never see a gold label.
"""
