"""A recipe, read and checked whole before anything is loaded; and its rows, dealt to the splits.

Owns what tables say of each other and what follows from them, and which rows must not be parted. Every verb begins
here. It never opens a model, never imports a library that tunes, and never drops a row or a key without a word.
"""
