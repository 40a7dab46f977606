"""Triton kernels for what takes many small operations in torch: the same numbers and tokens.

Each has its twin in torch: `numbers` in `counter_rng`, `races` in `guidance` and `logits`,
`rejection` in `ModifiedRejection`. `choice` alone decides which of the two runs.
"""
