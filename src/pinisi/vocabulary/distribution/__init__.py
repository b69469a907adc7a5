"""Computes S and T of a shard for losses that read the whole distribution: its entropy, its divergence from a teacher's.

As `head`, with statistics more in C1 and products more in S. p_v is the student's softmax, q_v the teacher's, each from its own
hidden states and its own shard of rows, so that no logits travel; H = -Σ p_v log p_v; D = Σ q_v (log q_v - log p_v). Then
    dH/dl_v = -p_v (log p_v + H)        dD/dl_v = p_v - q_v
and y's column, as always, enters alone, from 1 - p_y and 1 - q_y. With 1 barrier S makes Σ e_v (l_v - m) W_v for H and
Σ t_v W_v for D besides A = Σ e_v W_v, 2·T·h·V_r FLOPs each; with 2 barriers T has all coefficients and needs neither. The
teacher's logits take 2·T·h_t·V_r. Logits, not exponentials, are kept from S to T.
T tokens, h hidden, V_r rows, e_v = exp(l_v - m), t_v the same of the teacher; sums in the statistics' dtype.
"""

from pinisi.vocabulary.distribution.head import DistributionHead

__all__ = ["DistributionHead"]
