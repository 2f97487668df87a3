"""The hot loops: tensors in, tensors out, on any device."""
