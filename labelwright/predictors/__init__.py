"""What answers in place of a language model: fitted small classifiers as files, without pickle.

Owns the protocol, the list of kinds and the folder's outer layout; each kind is one file beside these. ``baselines``
trains them, and a bundle may hold one in place of a prompt and weights. Never imports a kind before one is loaded.
"""
