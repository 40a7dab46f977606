"""What drawing needs below the heads: caches, counter-based random numbers, logits."""
