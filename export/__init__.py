"""Export: trained codecs as ONNX, TorchScript and exported programs, verified token for token."""
