"""Loads a bundle and answers. What ships: tuning lives in the folders beside this one and is never imported here."""
