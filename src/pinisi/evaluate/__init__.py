"""Measures what a model can do in each language: loss on text, choices by likelihood, answers and translations.

Reading order: `examples` (what is asked), `prompts` (how), `encoding` (tokens), `packing` and `likelihood` (the engine), `choices`,
`language_loss`, `generation`, `answers`, `translation` (scores), `intervals` (how sure), `run` (all of it). Beside it: `samples`,
`statistics` and `comparison` (which of two models is better), `fingerprints`, `corpus_index` and `contamination` (what a corpus
holds), `confusion` (in which language answers are), `induction` (items made of words alone).
`next_tokens` and `model_ranks` (answers of a model on several ranks), `served` (of one behind an address), `judge`, `harness_model`
and `sea_helm` (others' tasks).
"""
