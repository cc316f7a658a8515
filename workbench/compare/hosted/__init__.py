"""The level behind a cascade's last one: a model elsewhere, asked through DSPy where the cascade is not sure.

Owns what it is asked, which rows go to it (chosen on calib) and what it brought (on test). It is no part of the
cascade's bundle, which runs nowhere but here: that one passes such rows on, and whoever has it asks whom they like.
"""
