"""Asks models that stand behind an OpenAI-compatible address, such as a vLLM server's."""
