"""mulib: kernels, training loops, unlearning methods and audits of the executable book on machine unlearning."""

from mulib.errors import InputError

__version__ = "0.1.0"
__all__ = ["InputError", "__version__"]
