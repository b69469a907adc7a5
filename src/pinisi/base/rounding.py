"""Bounds what numbers of few bits can follow."""

# Of AdamW's moments in bfloat16. Rounded to eight bits, a moment stays where it is while what comes in differs from it by less
# than 2^-8 / (1 - beta) of it: by 8 % for 0.95, 20 % for 0.98, 390 % for 0.999, which would never decay.
LARGEST_BETA = 0.98
