"""The kernels in Triton: one file beside each torch definition, imported when one of them first runs."""
