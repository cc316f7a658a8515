"""Typed answers out of a page or a row: a JSON Schema in, values out, each with where it lacks a value and why.

Owns which schemas can be filled, how values are written on pages, and where on a page they stand: beside their caption.
Enumerations are a classifier's to answer; or a language model is asked for all (``asked``). Called by
``labelwright extract``. Nothing is mended: what is not found, or does not satisfy the schema, is null with a reason. A
schema is data and fetches nothing.
"""
