"""Engines whose model runs in another process: a vLLM server, one of this process's own, or any OpenAI-compatible one.

Owns the client, its key, errors of the wire, and what a server's words mean. ``labelwright.engines.protocol`` opens
them by name. They start no server but the one that is asked for (``own_vllm``), and leave none behind; never guess
probabilities that a server does not give, and never take a label that only stands in its prose for an answer.
"""
