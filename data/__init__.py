"""Data: folders and manifests to batches, named real data sets, and file formats."""
