"""Targets that are servers of language models: llama.cpp, what is built on it, and vLLM.

Owns how a prompt becomes what each of them reads (a decision template, a Modelfile, a grammar, a request), and how a
written GGUF file is asked in this process. ``gguf``, ``ollama`` and ``vllm`` are opened by
``labelwright.conversion.targets``; the file format itself is ``labelwright.models.gguf``'s.
"""
