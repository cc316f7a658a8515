"""Engines' calls into compiled libraries, which no thread can be taken back from.

Owns how long such a call may take and what is done about one that does not return. ``labelwright.engines.llamacpp`` and
``labelwright.conversion.runtimes.gguf`` make theirs through it. Whoever asks a server leaves it in the same way
(``in_flight``). Also what the C library keeps of memory that was freed (``heap``). It never knows what is asked, nor of
which library.
"""
