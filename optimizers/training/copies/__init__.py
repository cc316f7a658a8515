"""Train rows copied and changed, under the label that they have: more to learn from, and nothing to measure with.

Owns how many copies of which rows there are (``copied``) and what is changed in one: an ending that asks for another
label (``steering``), or what people do to a text as they type it (``augmented``). The weight stages call it, and the
benches that compare other models on the same rows. It never looks at a row of dev, calib or test.
"""
