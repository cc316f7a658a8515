"""Has the world moved since a bundle was shipped? Its answers, window by window, against what they were on dev.

Owns what of an answer is counted, the test of a window and its rate of false alarms, audited accuracy over time, and
the challenger in the shadow. The command line and the server call it, the export makes the reference with ``making``.
It keeps no text, trains nothing, and changes no bundle; formulas are ``labelwright.statistics``'.
"""
