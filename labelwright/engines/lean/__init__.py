"""The in-process engine without transformers, for who only scores: a process answers its first row in half the time.

Owns the modules of the Llama family as they come from files (``model``), what transformers once said of a model and
need not be asked again (``known``), and the engine over both. ``labelwright.engines.opening`` opens it for the command
line. It never trains, and never opens a model that was not held to transformers' own logits on this machine before.
"""
