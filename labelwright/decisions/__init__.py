"""From a row's probabilities to what is said: a label, or none and why. numpy only.

Owns the last step of a row's way, the prices it weighs, and the promises it keeps. Every face asks it (the command
line, the classifier, the server, the comparison), so that what was measured is what is answered. It asks no engine,
reads no file, and fits nothing: what it needs lies in a bundle.
"""
