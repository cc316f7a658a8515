"""Rows of a bundle's own questions, over HTTP: asked of its engine, and answered as typed values.

The wires call it, where a protocol takes a row and gives back what the bundle says of it. It knows no protocol and no
route, never scores anything itself, and what is said of a row stays ``labelwright.decisions.answered``'s.
"""
