"""Bundles over HTTP: one application, one file a wire, every wire with the same numbers.

The only room that imports FastAPI, Starlette, uvicorn and prometheus_client. ``running.serve`` is the way in, for the
command line; ``application.application`` for tests. Nothing here scores: ``served.Served`` asks the engine what
``labelwright.decide`` would ask it, and wires put questions and probabilities into their protocols. Nobody's text is
logged, and none becomes a template.
"""
