"""Drawing with a generator: requests, batches, generators that come with the package."""
