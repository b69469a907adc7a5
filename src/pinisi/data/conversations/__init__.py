"""Turns chats into tokens of which some are trained: columns, messages, template, answers, tokens, shortening, files, batches.

Reading order: `messages` and `columns` (what a chat is), `template` (how the tokenizer's own template writes it), `answers` (where
answers begin and end), `encode` (tokens, and which are trained), `shorten`, `prepare` and `store` (files of them), `batches`.
"""
