"""What llama.cpp and what is built on it read: a GGUF file that decides by itself, a grammar, a Modelfile.

Owns how a prompt becomes a template of llama.cpp's, and how a written file is asked in this process. ``gguf`` and
``ollama`` are targets of ``labelwright.conversion.targets``; the file format itself is ``labelwright.models.gguf``'s.
"""
