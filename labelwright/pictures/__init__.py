"""Pictures: from a file or bytes that a stranger may have made to safe pixels, to text, to typed answers.

Owns what an image may be and how it is decoded (``opening``), where a row's image is (``cells``), what is written in
it (``ocr``, ``layout``, ``kept``) and how a column of images becomes one of text (``rows``). Called by all that reads
rows. Never fetches, and imports neither Pillow nor a runtime before there is an image: those are the extra ``ocr``.
"""
