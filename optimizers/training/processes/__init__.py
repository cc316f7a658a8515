"""Training over several processes: one that runs the verb, and helpers that take a share of every step's rows.

Owns who the processes are, what the first one tells the others, how a helper trains with it, and how a base is sharded
over them; ``accelerate launch`` starts them. The command line sends helpers here; ``loop`` hands training over. A
helper never writes, looks at dev, or reports.
"""
