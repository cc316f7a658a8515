"""Many rows, labelled by several workers and resumed where it stopped: ``labelwright predict … --engine``.

Owns shards, the manifest, the parts of an output, and the engines that answer shards: local processes and Ray, which is
imported in one file of this room alone. ``labelwright.commands.predict`` calls it. It never decides what is answered:
every shard goes the plain command's way, ``labelwright.labelling.label_rows``, so that the parts are its bytes.
"""
