"""Lets a model behind an address judge what others answered: pairs against a baseline, and refusals.

Reading order: `conversations` (what is asked), `pairs` and `refusals` (how a judge is asked, what its words mean), `judging` (asks,
and keeps what was said), `scores`.
"""
