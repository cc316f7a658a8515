"""What ``labelwright predict``, ``evaluate`` and ``extract`` do, and how any command opens a bundle.

Owns their options, the rows' way from a file to the answers' lines, and what is said beside them. ``labelwright.cli``
names the commands; those of other rooms (``watch``, ``convert``, ``certify``) live there. It never decides: that is
``labelwright.decide``'s.
"""
