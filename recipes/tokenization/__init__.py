"""Files to tokens and back: one file, batches of a data set, shards."""
