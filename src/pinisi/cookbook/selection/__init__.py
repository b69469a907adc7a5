"""Selects chats to fine-tune on: checks, perplexity and reward as percentiles, one score, greedy removal of what is alike.

Reading order: `settings`, `records` (what is read, and what is wrong with its form), `checks` (language, evaluation texts),
`scores` (perplexity and reward), `ranks` (percentiles and the score), `vectors`, `greedy`, and `run`, which does all of them.
"""
