"""Data: tasks and requests, readers of real data sets, and where they are found."""

from mulib.data.digits import digits
from mulib.data.download import fetch, find
from mulib.data.logits import Logits, write_logits
from mulib.data.sets import ImageSet, Request, Task

__all__ = ["ImageSet", "Logits", "Request", "Task", "digits", "fetch", "find", "write_logits"]
