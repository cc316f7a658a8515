"""A model elsewhere, asked through DSPy: behind a cascade's last level, where that is not sure, or to teach students.

Owns what it is asked, which rows of a cascade go to it (chosen on calib) and what it brought (on test). It is no part
of the cascade's bundle, which runs nowhere but here: that one passes such rows on, and whoever has it asks whom they
like. What students make of its answers is ``workbench.compare.distilled``'s.
"""
