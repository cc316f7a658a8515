"""A server under load, and strangers' requests: `python -m bench.load.soak` and `python -m bench.load.fuzz`.

Owns the bench's HTTP client, which is light so that what asks takes little of what answers, and what many clients do
that behave as clients in the world do. Speaks to servers of this machine only; ends by count and by time, whichever
comes first, and says what it found when it is stopped as well. Nothing here measures a ratio.
"""
