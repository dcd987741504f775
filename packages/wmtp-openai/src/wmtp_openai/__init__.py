"""OpenAI-compatible servers as an engine of WMTP: ``model.base_id: openai:http://host:8000/v1#model``."""
