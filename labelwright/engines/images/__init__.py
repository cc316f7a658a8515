"""What a vision-language model makes of a row's image, behind the engine that scores in this process.

Owns the way from an image's hash to what enters the model's decoder (``reader``), the slow ways to score a row, which
are the model's own (``plain``), and the check that the fast one comes to the same (``check``).
``labelwright.engines.transformers`` and the weight stages use it. It never decides what is asked, and never reads a
file of rows: images come by their hash, from ``labelwright.pictures.content``.
"""
