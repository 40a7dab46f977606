"""What the training commands say: before, during and after."""
