"""Pictures: from a file or bytes that a stranger may have made to safe pixels, to text, to typed answers.

Owns what an image may be and how it is decoded (``opening``). Called by whatever reads a row's image. Never imported on
the way to a text-only answer: it needs the extra ``ocr``, and nothing here imports Pillow or a runtime at its top.
"""
