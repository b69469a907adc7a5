"""Knows scripts, and cuts text into words, letters and stacks: the one place that does.

Reading order: `scripts` (what a code point is), `segmentation` (where words, clusters and cuts are).
"""
