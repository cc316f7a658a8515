"""What is spoken to whom: a protocol a file, each a ``labelwright.serve.service.Wire``.

A wire turns a request into texts and questions, asks ``Served``, and puts the probabilities into its protocol's answer;
what is wrong with a request it says in its protocol's own shape. Wires know nothing of each other, score nothing and
keep nothing. ``labelwright.serve.application`` lists them.
"""
