"""Loads a bundle and answers: this folder is what ships, as a wheel.

Owns everything between a row and its label: reading rows, writing prompts, scoring options, calibrated probabilities,
and the files of a bundle. People reach it through ``labelwright.cli`` and ``labelwright.classifier``; the folders
beside it import it. It never imports them, nor any library that tunes or tracks (dspy, gepa, trl, mlflow).
"""
