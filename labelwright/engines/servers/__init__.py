"""Engines whose model runs elsewhere: a vLLM server, or any OpenAI-compatible endpoint.

Owns the client, its key, errors of the wire, and what a server's words mean. ``labelwright.engines.protocol`` opens
them by name. They never start a server, never guess probabilities that it does not give, and never take a label that
only stands somewhere in its prose for an answer.
"""
